// SPDX-License-Identifier: GPL-3.0-or-later
// Asks the kernel for a free loop device and sets its file, up to 20 times, since others may take
// the free one first.
#include "persistent-data/testing/loop_devices.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace persistent_data::test {

loop_devices::~loop_devices() {
  for (const attached_device& device : attached_) {
    ::ioctl(device.fd, LOOP_CLR_FD, 0);
    ::close(device.fd);
  }
}

std::string loop_devices::attach(const std::string& file, bool read_only) {
  const auto give_up = [&](const char* what) {
    why_not_ = fmt::format("{}: {}", what, std::strerror(errno));
    return std::string();
  };
  const int mode = read_only ? O_RDONLY : O_RDWR;
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return give_up("no loop devices");
  const int backing = ::open(file.c_str(), mode | O_CLOEXEC);
  std::string name;
  // Others may take the free one first.
  for (int tries = 0; tries < 20 && name.empty() && backing >= 0; ++tries) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) break;
    name = fmt::format("/dev/loop{}", number);
    const int fd = ::open(name.c_str(), mode | O_CLOEXEC);
    if (fd >= 0 && ::ioctl(fd, LOOP_SET_FD, backing) == 0) {
      attached_.push_back({name, fd});
    } else {
      name.clear();
      if (fd >= 0) ::close(fd);
    }
  }
  std::string result = name.empty() ? give_up("cannot attach a loop device") : name;
  if (backing >= 0) ::close(backing);
  ::close(control);
  return result;
}

}  // namespace persistent_data::test
