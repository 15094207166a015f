// SPDX-License-Identifier: GPL-3.0-or-later
// The system calls that carry data to files and devices. Code that has to deal with their rarer
// results (EINTR, EAGAIN, short transfers, failed flushes) takes them as a parameter, and a test
// overrides them to get such results.
#pragma once

#include <fcntl.h>
#include <libaio.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <ctime>

struct io_uring;
struct io_uring_cqe;

namespace persistent_data {

// Each function is the call of its name: those of libaio and liburing return -errno, the others -1
// and errno. For any number of threads.
class system_calls {
 public:
  virtual ~system_calls() = default;

  // The calls themselves; lives as long as the program.
  static system_calls& real();

  virtual ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) {
    return ::pread(fd, to, bytes, offset);
  }
  virtual ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) {
    return ::pwrite(fd, from, bytes, offset);
  }
  virtual int fallocate(int fd, int mode, off_t offset, off_t bytes) {
    return ::fallocate(fd, mode, offset, bytes);
  }
  virtual int fsync(int fd) { return ::fsync(fd); }
  virtual int fdatasync(int fd) { return ::fdatasync(fd); }
  virtual int close(int fd) { return ::close(fd); }
  virtual int io_submit(io_context_t context, long count, iocb** requests) {
    return ::io_submit(context, count, requests);
  }
  virtual int io_getevents(io_context_t context, long at_least, long at_most, io_event* events,
                           timespec* timeout) {
    return ::io_getevents(context, at_least, at_most, events, timeout);
  }
  virtual int io_uring_submit(io_uring*);
  virtual int io_uring_wait_cqe(io_uring*, io_uring_cqe** done);
  virtual int fchown(int fd, uid_t owner, gid_t group) { return ::fchown(fd, owner, group); }
  virtual int renameat(int from_directory, const char* from, int to_directory, const char* to) {
    return ::renameat(from_directory, from, to_directory, to);
  }
};

inline system_calls& system_calls::real() {
  static system_calls calls;
  return calls;
}

}  // namespace persistent_data
