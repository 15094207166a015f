// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: real loop devices, if the system has them.
#pragma once

#include <string>
#include <vector>

namespace persistent_data::test {

// Detaches what it has attached.
class loop_devices {
 public:
  struct attached_device {
    std::string name;
    int fd;
  };

  loop_devices() = default;
  ~loop_devices();
  loop_devices(const loop_devices&) = delete;
  loop_devices& operator=(const loop_devices&) = delete;

  // Attaches one to a file or device. Returns its name, or an empty one if that is not possible
  // here: then why_not() has the words for a test that is skipped.
  std::string attach(const std::string& file, bool read_only = false);
  const std::string& why_not() const noexcept { return why_not_; }

 private:
  std::vector<attached_device> attached_;
  std::string why_not_;
};

}  // namespace persistent_data::test
