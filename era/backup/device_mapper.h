// SPDX-License-Identifier: GPL-3.0-or-later
// The device mapper's calls that a backup of a live device needs. The real ones are libdevmapper's;
// tests have others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace era {

// A line of a mapped device's table or status.
struct mapped_target {
  std::uint64_t begin = 0, length = 0;  // sectors
  std::string type, parameters;
};

struct mapped_device_info {
  bool exists = false, suspended = false;
  bool has_inactive_table = false;  // the next resume activates a table that was loaded
};

// Every function throws device_error, which names the device, the step and the reason. For one
// thread.
class device_mapper {
 public:
  virtual ~device_mapper() = default;

  // libdevmapper; lives as long as the program. If this build lacks libdevmapper, every function
  // throws.
  static device_mapper& real();

  // Do not wait for a suspended device.
  virtual mapped_device_info info(const std::string& name) = 0;
  virtual std::vector<mapped_target> table(const std::string& name) = 0;

  // Wait, without end, until the device is resumed.
  virtual std::vector<mapped_target> status(const std::string& name) = 0;
  virtual void message(const std::string& name, const std::string& text) = 0;

  // Freezes the file system on the device, if there is one, and waits for writes under way.
  virtual void suspend(const std::string& name) = 0;
  // Does not wait for udev, which finds the same nodes as before.
  virtual void resume(const std::string& name) = 0;

  // Returns the path of a block device's node: in /dev/mapper if it is a mapped device.
  virtual std::string node(unsigned major, unsigned minor) = 0;
};

}  // namespace era
