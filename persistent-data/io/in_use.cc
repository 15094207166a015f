// SPDX-License-Identifier: GPL-3.0-or-later
// qemu's locks on an image: a read lock on byte 100 + N says that the holder uses permission N, and
// one on byte 200 + N that the holder does not let others use it. Whoever wants a permission sets
// its locks first, then looks for locks of others that contradict it. Permission 0 is to read
// consistent data, 1 is to write, 3 is to change the size.
#include "persistent-data/io/in_use.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace persistent_data {
namespace {

constexpr off_t permission_used = 100, permission_not_shared = 200, end_of_permissions = 300;
constexpr off_t consistent_read = 0, write_data = 1, resize = 3;

[[noreturn]] void fail(const std::string& path, const std::string& why) {
  throw device_error(fmt::format("{}: {}", path, why));
}

struct flock bytes(short type, off_t first, off_t count) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = count;  // 0: all that follow
  return lock;
}

// Returns the lock of another that keeps from setting this one.
std::optional<struct flock> conflict(int fd, struct flock wanted) {
  if (::fcntl(fd, F_OFD_GETLK, &wanted) != 0 || wanted.l_type == F_UNLCK) return {};
  return wanted;
}

// Returns false if another's lock keeps from it.
bool set(int fd, struct flock wanted) {
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0 || (errno != EAGAIN && errno != EACCES);
}

[[noreturn]] void fail_for_lock(const std::string& path, const std::optional<struct flock>& lock) {
  const std::string who = lock && lock->l_pid > 0 ? fmt::format("process {}", lock->l_pid)
                                                  : "another program, such as a virtual machine,";
  fail(path, fmt::format("is in use: {} holds a lock on it; stop that first", who));
}

// The file system of a device's node may know no flock, and udev takes it for moments.
void lock_against_these_tools(int fd, const std::string& path, int operation, const char* busy) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
  if (::flock(fd, operation | LOCK_NB) != 0 && errno == EWOULDBLOCK) fail(path, busy);
}

// Returns a lock by which somebody says that byte's permission is used, or is not shared.
std::optional<struct flock> permission_lock(int fd, off_t byte) {
  const auto found = conflict(fd, bytes(F_WRLCK, byte, 1));
  // A read lock on much more is no permission.
  if (found && (found->l_start < permission_used || found->l_len == 0 ||
                found->l_start + found->l_len > end_of_permissions))
    return {};
  return found;
}

void lock_against_writers(int fd, const std::string& path) {
  for (const off_t byte : {permission_used + consistent_read, permission_not_shared + write_data,
                           permission_not_shared + resize}) {
    const auto wanted = bytes(F_RDLCK, byte, 1);
    if (!set(fd, wanted)) fail_for_lock(path, conflict(fd, wanted));
  }
  if (const auto lock = conflict(fd, bytes(F_RDLCK, 0, 0))) fail_for_lock(path, lock);
  for (const off_t byte : {permission_used + write_data, permission_used + resize,
                           permission_not_shared + consistent_read})
    if (const auto lock = permission_lock(fd, byte)) fail_for_lock(path, lock);
}

void lock_against_all(int fd, const std::string& path) {
  const auto wanted = bytes(F_WRLCK, 0, 0);
  if (!set(fd, wanted)) fail_for_lock(path, conflict(fd, wanted));
}

// A device that cannot be opened counts as held: it is not known who uses it.
bool is_held(const loop_device& loop) {
  const int fd = ::open(loop.name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_EXCL);
  if (fd < 0) return errno != ENXIO;  // detached meanwhile
  ::close(fd);
  return false;
}

}  // namespace

void claim_for_reading(int fd, const std::string& path, const std::string& sysfs) {
  lock_against_these_tools(fd, path, LOCK_SH,
                           "is being written by another tool; wait until it has finished");
  lock_against_writers(fd, path);
  for (const loop_device& loop : loop_devices_on(storage::of_descriptor(fd, sysfs), sysfs))
    if (!loop.read_only && is_held(loop))
      fail(path, fmt::format("is in use: {} lies on it, and is mounted, held by device-mapper, or "
                             "not to be opened; stop its user first",
                             loop.name));
}

void claim_for_writing(int fd, const std::string& path, const std::string& sysfs) {
  lock_against_these_tools(fd, path, LOCK_EX,
                           "is being read or written by another tool; wait until it has finished");
  lock_against_all(fd, path);
  for (const loop_device& loop : loop_devices_on(storage::of_descriptor(fd, sysfs), sysfs))
    fail(path, fmt::format("is in use: {} lies on it; detach that first: losetup --detach {}",
                           loop.name, loop.name));
}

}  // namespace persistent_data
