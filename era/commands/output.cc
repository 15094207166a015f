// SPDX-License-Identifier: GPL-3.0-or-later
// Files by way of a temporary file.
//
// An earlier file is overwritten in place in this order, so that it is never plausible and wrong,
// even if the power fails: room is reserved; its beginning is overwritten by a mark; what follows
// the mark is written and flushed; the beginning is written and flushed.
#include "era/commands/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "era/commands/file_attributes.h"
#include "era/commands/output_place.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/in_use.h"
#include "persistent-data/io/temp_file.h"

namespace era {
namespace {

// The directory or the file system does not allow what is allowed for the file itself.
bool is_refusal(int error) {
  return error == EACCES || error == EPERM || error == EROFS || error == EBUSY || error == EXDEV;
}

}  // namespace

bool is_standard_output(const std::string& path) { return path.empty() || path == "-"; }

output::output(const std::string& path, pd::system_calls& calls)
    : calls_(calls), name_(is_standard_output(path) ? "standard output" : path) {
  if (is_standard_output(path)) return;
  const output_place where = find_output_place(path);
  if (where.descriptor >= 0) {
    own_ = pd::unique_fd(::fcntl(where.descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!own_) fail(errno);
  } else {
    file_name_ = where.name;
    open_in_directory(where.directory);
  }
  fd_ = own_.get();
}

void output::open_in_directory(const std::string& directory) {
  directory_ = pd::unique_fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) fail(errno);
  struct stat status {};
  if (::fstatat(directory_.get(), file_name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) fail(errno);
    if (const int error = create_temporary(0666)) fail(error);
  } else if (S_ISREG(status.st_mode)) {
    replace_file();
  } else {
    const int exclusively = S_ISBLK(status.st_mode) ? O_EXCL : 0;
    own_ = pd::unique_fd(::openat(directory_.get(), file_name_.c_str(),
                                  O_WRONLY | O_CLOEXEC | O_NOCTTY | exclusively));
    if (!own_ && exclusively != 0 && errno == EBUSY)
      throw pd::device_error(fmt::format("{}: {}", name_, pd::held_by_kernel));
    if (!own_) fail(errno);
    if (exclusively != 0) pd::claim_for_writing(own_.get(), name_);
  }
}

void output::replace_file() {
  earlier_ = pd::unique_fd(::openat(directory_.get(), file_name_.c_str(),
                                    O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!earlier_) fail(errno);
  pd::claim_for_writing(earlier_.get(), name_);
  // Nobody may open the new file whom the earlier one would keep out.
  const int error = create_temporary(0600);
  if (error != 0 && !is_refusal(error)) fail(error);
  if (error != 0) own_ = pd::make_unnamed_file();
  overwrites_ = error != 0 || !copy_attributes(earlier_.get(), own_.get(), calls_);
}

// Returns 0 or an errno.
int output::create_temporary(unsigned mode) {
  own_ = make_temporary_file(directory_.get(), mode, temporary_);
  return own_ ? 0 : errno;
}

output::~output() = default;

void output::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written > 0)
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (written == 0)
      fail(ENOSPC);
    else if (errno == EPIPE)
      throw pd::closed_pipe();
    else if (errno != EINTR)
      fail(errno);
  }
}

void output::commit() {
  if (!own_) return close_a_copy();
  flush(fd_);
  if (!temporary_ && !overwrites_) {
    fd_ = -1;
    if (own_.reset() != 0) fail(errno);
    return;
  }
  if (overwrites_ || !take_name()) overwrite();
}

void output::flush(int fd) {
  if (const int error = pd::flush_file(fd, calls_); error != 0) fail(error);
}

// A network file system may tell only when a descriptor is closed that it could not keep what was
// written. Standard output itself stays open.
void output::close_a_copy() {
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0 || (calls_.close(copy) != 0 && errno != EINTR)) fail(errno);
}

// Returns false if the file may be written, but not replaced.
bool output::take_name() {
  if (calls_.renameat(directory_.get(), temporary_->name().c_str(), directory_.get(),
                      file_name_.c_str()) != 0) {
    if (earlier_ && is_refusal(errno)) return false;
    fail(errno);
  }
  temporary_->release();
  if (const int error = pd::flush_directory(directory_.get(), calls_); error != 0) fail(error);
  return true;
}

void output::overwrite() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail(errno);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t beginning = std::min<std::uint64_t>(size, incomplete_mark.size());
  reserve_room(size);
  const auto mark = [&] {
    put(incomplete_mark, 0);
    if (::ftruncate(earlier_.get(), static_cast<off_t>(incomplete_mark.size())) != 0) fail(errno);
    flush(earlier_.get());
  };
  try {
    mark();
    copy(beginning, size);
    flush(earlier_.get());
    copy(0, beginning);
    if (::ftruncate(earlier_.get(), static_cast<off_t>(size)) != 0) fail(errno);
    flush(earlier_.get());
  } catch (const pd::device_error& e) {
    if (!has_overwritten_) throw;
    try {
      mark();
    } catch (const pd::device_error&) {
      // The first error is the one to tell.
    }
    throw pd::device_error(fmt::format(
        "{}; what it held before is lost, and its first line says that it is incomplete",
        e.what()));
  }
}

// Before anything is overwritten. File systems that cannot reserve find out later.
void output::reserve_room(std::uint64_t bytes) {
  if (bytes == 0 ||
      calls_.fallocate(earlier_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0)
    return;
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != EINTR) fail(errno);
}

// From the temporary file to the earlier one.
void output::copy(std::uint64_t begin, std::uint64_t end) {
  std::vector<char> buffer(std::size_t{1} << 20);
  while (begin < end) {
    const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), end - begin);
    const ssize_t got = calls_.pread(fd_, buffer.data(), wanted, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail(got < 0 ? errno : EIO);
    put({buffer.data(), static_cast<std::size_t>(got)}, begin);
    begin += static_cast<std::uint64_t>(got);
  }
}

void output::put(std::string_view text, std::uint64_t at) {
  while (!text.empty()) {
    const ssize_t written =
        calls_.pwrite(earlier_.get(), text.data(), text.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(written < 0 ? errno : ENOSPC);
    has_overwritten_ = true;
    text.remove_prefix(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
}

void output::fail(int error) const {
  throw pd::device_error(fmt::format("cannot write {}: {}", name_, std::strerror(error)));
}

void print(std::string_view text) {
  output out("");
  out.write(text);
  out.commit();
}

}  // namespace era
