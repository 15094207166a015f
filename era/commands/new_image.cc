// SPDX-License-Identifier: GPL-3.0-or-later
// The name is given with a hard link, which never replaces a file; a file system without hard links
// renames, unless the name is taken.
#include "era/commands/new_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"

namespace era {

namespace pd = persistent_data;

new_image::new_image(std::string path, pd::system_calls& calls)
    : calls_(calls), path_(std::move(path)) {
  const std::filesystem::path whole(path_);
  file_name_ = whole.filename().string();
  const std::string directory = whole.has_parent_path() ? whole.parent_path().string() : ".";
  if (file_name_.empty()) fail(EISDIR);
  directory_ = pd::unique_fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) fail(errno);
  if (::faccessat(directory_.get(), file_name_.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    fail(EEXIST);
  if (!make_temporary_file(directory_.get(), 0600, temporary_)) fail(errno);
  temporary_path_ = directory + '/' + temporary_->name();
}

void new_image::commit() {
  const int directory = directory_.get();
  const char* const from = temporary_->name().c_str();
  const pd::unique_fd fd(::openat(directory, from, O_RDONLY | O_CLOEXEC));
  if (!fd) fail(errno);
  if (const int error = pd::flush_file(fd.get(), calls_); error != 0) fail(error);
  if (::linkat(directory, from, directory, file_name_.c_str(), 0) != 0) {
    if (errno == EEXIST ||
        ::renameat2(directory, from, directory, file_name_.c_str(), RENAME_NOREPLACE) != 0)
      fail(errno);
    temporary_->release();
  }
  temporary_.reset();
  if (const int error = pd::flush_file(directory, calls_); error != 0) {
    take_back();
    fail(error);
  }
}

void new_image::take_back() noexcept { ::unlinkat(directory_.get(), file_name_.c_str(), 0); }

void new_image::fail(int error) const {
  if (error == EEXIST)
    throw pd::device_error(fmt::format(
        "{}: is there already, and other images may depend on it; name a new file, or remove it "
        "if it was left by a backup that was killed",
        path_));
  throw pd::device_error(fmt::format("{}: cannot be made: {}", path_, std::strerror(error)));
}

}  // namespace era
