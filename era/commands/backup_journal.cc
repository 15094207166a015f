// SPDX-License-Identifier: GPL-3.0-or-later
// The journal is emptied, never removed: a lock on a removed file keeps nobody out who makes a new
// one. An entry is the name of a device, and perhaps the word "suspended", a line each.
#include "era/commands/backup_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "era/commands/output_place.h"
#include "era/text/printable.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

namespace pd = persistent_data;

constexpr std::string_view suspended = "suspended\n";
constexpr std::size_t longest_entry = 256;  // names of devices have up to 127 bytes

[[noreturn]] void fail(const std::string& path, int error) {
  throw pd::device_error(fmt::format("{}: {}", path, std::strerror(error)));
}

// A file that is there may be one of another user, which may be read and not written. O_NONBLOCK:
// a pipe's other end may never come.
pd::unique_fd open_existing(const std::string& path, int& error) {
  for (const int access : {O_RDWR, O_RDONLY}) {
    pd::unique_fd fd(::open(path.c_str(), access | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (fd) return fd;
    error = errno;
    if (error != EACCES && error != EROFS && error != EPERM) break;
  }
  return {};
}

// The journal may be written by all who may write the state.
pd::unique_fd make_like(const std::string& state, const std::string& path) {
  pd::unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
  struct stat like {};
  if (fd && ::stat(state.c_str(), &like) == 0) {
    // Not everyone may give a file away.
    [[maybe_unused]] const int ignored = ::fchown(fd.get(), like.st_uid, like.st_gid);
    ::fchmod(fd.get(), (like.st_mode & 0666) | 0600);
  }
  return fd;
}

std::string text_in(int fd, const std::string& path) {
  char buffer[longest_entry] = {};
  const ssize_t got = ::pread(fd, buffer, sizeof buffer, 0);
  if (got < 0) fail(path, errno);
  return {buffer, static_cast<std::size_t>(got)};
}

bool is_entry(const std::string& text) {
  if (text.empty()) return true;
  const std::size_t end = text.find('\n');
  if (end == 0 || end == text.npos || text.size() >= longest_entry) return false;
  const std::string_view rest = std::string_view(text).substr(end + 1);
  return rest.empty() || rest == suspended;
}

}  // namespace

std::string backup_journal::path_for(const std::string& state) {
  const output_place place = find_output_place(state);
  return place.descriptor >= 0 ? state + ".live" : place.directory + '/' + place.name + ".live";
}

backup_journal::backup_journal(const std::string& state) : path_(path_for(state)) {
  int error = 0;
  fd_ = open_existing(path_, error);
  if (!fd_ && error == ENOENT) {
    fd_ = make_like(state, path_);
    error = errno;
    if (fd_) error = pd::flush_directory_of(path_, pd::system_calls::real());
    if (fd_ && error != 0) fail(path_, error);
    // Another backup has made it in between.
    if (!fd_ && error == EEXIST) fd_ = open_existing(path_, error);
  }
  if (fd_ && (::fcntl(fd_.get(), F_GETFL) & O_ACCMODE) == O_RDONLY) cannot_write_ = EACCES;
  if (!fd_ && (error == EACCES || error == EPERM || error == EROFS)) {
    cannot_write_ = error;
    struct stat there {};
    if (::lstat(path_.c_str(), &there) == 0)
      throw pd::device_error(
          fmt::format("{}: {}: let this user read and write the journal of the state, or remove it "
                      "while no backup is at work",
                      path_, std::strerror(error)));
    const std::string directory = find_output_place(state).directory;
    fd_ = pd::unique_fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_) return;
  }
  if (!fd_) fail(path_, error);
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      throw pd::device_error(fmt::format(
          "{}: another backup with this state is at work; wait until it has finished", state));
    cannot_write_ = errno;  // a file system may know no locks
  }
  read();
}

journal_entry backup_journal::read() const {
  struct stat status {};
  if (!fd_ || ::fstat(fd_.get(), &status) != 0 || S_ISDIR(status.st_mode)) return {};
  const std::string text = S_ISREG(status.st_mode) ? text_in(fd_.get(), path_) : "-";
  if (!is_entry(text))
    throw pd::device_error(fmt::format(
        "{}: is there, and no journal of era_backup; give the state another name", path_));
  return {.device = text.substr(0, text.find('\n')),
          .may_hold_snapshot = !text.ends_with('\n' + std::string(suspended))};
}

void backup_journal::write(const journal_entry& entry) {
  if (cannot_write_ != 0) fail(path_, cannot_write_);
  std::string text;
  if (!entry.device.empty()) text = entry.device + '\n';
  if (!entry.device.empty() && !entry.may_hold_snapshot) text += suspended;
  pd::system_calls& calls = pd::system_calls::real();
  int error = ::ftruncate(fd_.get(), 0) != 0 ? errno : 0;
  if (error == 0) error = pd::write_whole(fd_.get(), std::as_bytes(std::span(text)), 0, calls);
  if (error == 0) error = pd::flush_file(fd_.get(), calls);
  if (error == 0) return;
  [[maybe_unused]] const int ignored = ::ftruncate(fd_.get(), 0);
  fail(path_, error);
}

}  // namespace era
