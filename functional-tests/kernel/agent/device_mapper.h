// SPDX-License-Identifier: GPL-3.0-or-later
// The device mapper's calls, and reads and writes past the page cache, for the agent.
#pragma once

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace era::test {

using namespace std::chrono_literals;

inline constexpr std::size_t sector_size = 512, copy_size = 1 << 20;

[[noreturn]] inline void die(const std::string& what) {
  std::printf("0 agent: %s: %s\n", what.c_str(), std::strerror(errno));
  std::fflush(stdout);
  std::exit(1);
}

// Memory that direct I/O can use.
struct aligned_buffer {
  explicit aligned_buffer(std::size_t size)
      : bytes(static_cast<char*>(std::aligned_alloc(4096, size)), &std::free) {
    std::memset(bytes.get(), 0x5a, size);
  }
  std::unique_ptr<char, decltype(&std::free)> bytes;
};

class device_mapper {
 public:
  device_mapper() : control_(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC)) {
    if (control_ < 0) die("/dev/mapper/control");
  }

  // Each returns 0 or an errno.
  int create(const std::string& name, std::uint64_t sectors, const std::string& type,
             const std::string& parameters) {
    if (const int error = call(DM_DEV_CREATE, name, 0, "")) return error;
    const dev_t number = static_cast<dev_t>(answer().dev);
    int error = load(name, sectors, type, parameters);
    if (!error) error = resume(name);
    if (error) {
      remove(name);
      return error;
    }
    const std::string node = path(name);
    ::unlink(node.c_str());
    if (::mknod(node.c_str(), S_IFBLK | 0600, ::makedev(major(number), minor(number))) != 0)
      die(node);
    return 0;
  }

  int load(const std::string& name, std::uint64_t sectors, const std::string& type,
           const std::string& parameters) {
    std::string payload(sizeof(dm_target_spec), '\0');
    dm_target_spec spec{};
    spec.length = sectors;
    std::snprintf(spec.target_type, sizeof spec.target_type, "%s", type.c_str());
    std::memcpy(payload.data(), &spec, sizeof spec);
    return call(DM_TABLE_LOAD, name, 0, payload + parameters, 1);
  }

  int suspend(const std::string& name, std::uint32_t flags = 0) {
    return call(DM_DEV_SUSPEND, name, DM_SUSPEND_FLAG | flags, "");
  }
  int resume(const std::string& name) { return call(DM_DEV_SUSPEND, name, 0, ""); }

  // There is no udev here. But the kernel may hold a device for a moment after its last user.
  int remove(const std::string& name) {
    int error = EBUSY;
    for (int tries = 0; error == EBUSY && tries < 100; ++tries) {
      if (tries > 0) std::this_thread::sleep_for(20ms);
      error = call(DM_DEV_REMOVE, name, 0, "");
    }
    return error;
  }

  int message(const std::string& name, const std::string& text) {
    std::string payload(sizeof(dm_target_msg), '\0');
    return call(DM_TARGET_MSG, name, 0, payload + text);
  }

  // The line as dmsetup prints it after the name; empty at an error.
  std::string status(const std::string& name) {
    if (call(DM_TABLE_STATUS, name, 0, "") != 0 || answer().target_count != 1) return "";
    const auto* spec =
        reinterpret_cast<const dm_target_spec*>(buffer_.data() + answer().data_start);
    return reinterpret_cast<const char*>(spec + 1);
  }

  static std::string path(const std::string& name) { return "/dev/node-" + name; }

 private:
  const dm_ioctl& answer() const { return *reinterpret_cast<const dm_ioctl*>(buffer_.data()); }

  int call(unsigned long request, const std::string& name, std::uint32_t flags,
           const std::string& payload, std::uint32_t targets = 0) {
    buffer_.assign(sizeof(dm_ioctl) + std::max<std::size_t>(payload.size() + 1, 4096), '\0');
    auto& header = *reinterpret_cast<dm_ioctl*>(buffer_.data());
    header.version[0] = DM_VERSION_MAJOR;
    header.data_size = static_cast<std::uint32_t>(buffer_.size());
    header.data_start = sizeof(dm_ioctl);
    header.flags = flags;
    header.target_count = targets;
    std::snprintf(header.name, sizeof header.name, "%s", name.c_str());
    std::memcpy(buffer_.data() + sizeof(dm_ioctl), payload.c_str(), payload.size() + 1);
    return ::ioctl(control_, request, buffer_.data()) == 0 ? 0 : errno;
  }

  int control_;
  std::vector<char> buffer_;
};

// Copies between devices, past the page cache: others use them through the device mapper.
inline void copy(const char* from, std::uint64_t from_offset, const char* to,
                 std::uint64_t to_offset, std::uint64_t bytes) {
  const int in = ::open(from, O_RDONLY | O_DIRECT | O_CLOEXEC);
  const int out = ::open(to, O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (in < 0 || out < 0) die(in < 0 ? from : to);
  const aligned_buffer buffer(copy_size);
  for (std::uint64_t done = 0; done < bytes;) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(copy_size, bytes - done));
    if (::pread(in, buffer.bytes.get(), size, static_cast<off_t>(from_offset + done)) !=
            static_cast<ssize_t>(size) ||
        ::pwrite(out, buffer.bytes.get(), size, static_cast<off_t>(to_offset + done)) !=
            static_cast<ssize_t>(size))
      die("copy");
    done += size;
  }
  ::close(in);
  ::close(out);
}

// Returns 0 or an errno.
inline int write_sectors(std::uint64_t sector, std::uint64_t count) {
  const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return errno;
  const aligned_buffer buffer(copy_size);
  int error = 0;
  while (count > 0 && !error) {
    const auto now = std::min<std::uint64_t>(count, copy_size / sector_size);
    const ssize_t written = ::pwrite(fd, buffer.bytes.get(), now * sector_size,
                                     static_cast<off_t>(sector * sector_size));
    if (written < 0)
      error = errno;
    else if (static_cast<std::uint64_t>(written) != now * sector_size)
      error = EIO;
    sector += now;
    count -= now;
  }
  ::close(fd);
  return error;
}

inline int discard_sectors(std::uint64_t sector, std::uint64_t count) {
  const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  std::uint64_t range[2] = {sector * sector_size, count * sector_size};
  const int error = ::ioctl(fd, BLKDISCARD, range) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

// Writes that are under way: begin() returns when the kernel has taken the write, so that whatever
// comes next comes after its beginning.
class writes_under_way {
 public:
  writes_under_way() {
    if (::syscall(SYS_io_setup, most, &context_) != 0) die("io_setup");
  }
  writes_under_way(const writes_under_way&) = delete;
  writes_under_way& operator=(const writes_under_way&) = delete;

  // Returns 0 or an errno.
  int begin(std::uint64_t sector, std::uint64_t count) {
    const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0) return errno;
    files_.push_back(fd);
    while (count > 0) {
      const auto now = std::min<std::uint64_t>(count, copy_size / sector_size);
      iocb request{};
      request.aio_fildes = static_cast<std::uint32_t>(fd);
      request.aio_lio_opcode = IOCB_CMD_PWRITE;
      request.aio_buf = reinterpret_cast<std::uintptr_t>(buffer_.bytes.get());
      request.aio_nbytes = request.aio_data = now * sector_size;
      request.aio_offset = static_cast<std::int64_t>(sector * sector_size);
      iocb* requests[] = {&request};
      if (::syscall(SYS_io_submit, context_, 1, requests) != 1) return errno;
      ++begun_;
      sector += now;
      count -= now;
    }
    return 0;
  }

  // Returns 0, or the errno of one that failed.
  int wait() {
    int error = 0;
    for (; begun_ > 0; --begun_) {
      io_event event{};
      if (::syscall(SYS_io_getevents, context_, 1, 1, &event, nullptr) != 1) die("io_getevents");
      if (event.res < 0)
        error = static_cast<int>(-event.res);
      else if (static_cast<std::uint64_t>(event.res) != event.data)
        error = EIO;  // only a part was written
    }
    for (const int fd : files_) ::close(fd);
    files_.clear();
    return error;
  }

 private:
  static constexpr unsigned most = 1024;
  aio_context_t context_ = 0;
  aligned_buffer buffer_{copy_size};
  std::vector<int> files_;
  std::uint64_t begun_ = 0;
};

}  // namespace era::test
