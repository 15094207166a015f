// SPDX-License-Identifier: GPL-3.0-or-later
// The journal is emptied and not removed: who waits for a lock on a removed file waits for nobody.
#include "era/commands/backup_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

namespace pd = persistent_data;

[[noreturn]] void fail(const std::string& path, int error) {
  throw pd::device_error(fmt::format("{}: {}", path, std::strerror(error)));
}

bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace

// A state has one journal, whatever link leads to it.
std::string backup_journal::path_for(const std::string& state) {
  std::error_code error;
  if (std::filesystem::is_symlink(state, error))
    if (const auto file = std::filesystem::weakly_canonical(state, error); !error)
      return file.string() + ".live";
  return state + ".live";
}

backup_journal::backup_journal(const std::string& state)
    : path_(path_for(state)),
      fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
  if (!fd_) {
    error_ = errno;
    const bool may_be_made = error_ != EACCES && error_ != EPERM && error_ != EROFS;
    if (may_be_made || is_there(path_)) fail(path_, error_);
    fd_ = pd::unique_fd(::open(state.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_ && errno == ENOENT) return;  // it will be an error when it is to be made
    if (!fd_) fail(state, errno);
  } else if (const int error = pd::flush_directory_of(path_, pd::system_calls::real())) {
    fail(path_, error);
  }
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) return;
  if (errno != EWOULDBLOCK) fail(path_, errno);
  throw pd::device_error(fmt::format(
      "{}: another backup with this state is at work; wait until it has finished", state));
}

std::string backup_journal::device() const {
  if (error_ != 0) return "";
  char buffer[256] = {};  // names of devices are shorter
  const ssize_t got = ::pread(fd_.get(), buffer, sizeof buffer, 0);
  if (got < 0) fail(path_, errno);
  const std::string text(buffer, static_cast<std::size_t>(got));
  return text.substr(0, text.find('\n'));
}

void backup_journal::note(const std::string& device) {
  if (error_ != 0) fail(path_, error_);
  const std::string text = device.empty() ? "" : device + '\n';
  pd::system_calls& calls = pd::system_calls::real();
  if (::ftruncate(fd_.get(), 0) != 0) fail(path_, errno);
  int error = pd::write_whole(fd_.get(), std::as_bytes(std::span(text)), 0, calls);
  if (error == 0) error = pd::flush_file(fd_.get(), calls);
  if (error != 0) fail(path_, error);
}

}  // namespace era
