// SPDX-License-Identifier: GPL-3.0-or-later
// The place of the bytes of a file or a block device: does writing to one change another?
//
// A block device may lie on others: a partition on its disk, a loop device on a file, a mapped
// device on its slaves. `storage` follows them down to the last one, by sysfs. If sysfs is not
// mounted, it follows only loop devices, and only if they may be opened.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace persistent_data {

inline constexpr const char* default_sysfs = "/sys";

class storage {
 public:
  // Returns that of the file or device at `path`, after symbolic links. Empty if there is none.
  static storage at(const std::string& path, const std::string& sysfs = default_sysfs);
  // Returns that of an open file or device, by its fstat.
  static storage of(const struct stat&, const std::string& sysfs = default_sysfs);
  // Empty if it is not open.
  static storage of_descriptor(int fd, const std::string& sysfs = default_sysfs);
  static storage of_device(dev_t, const std::string& sysfs = default_sysfs);

  // Returns true if they are the same file or device, or one lies on the other, or both lie on the
  // same bytes of a file or a disk. Two mapped devices on one disk do not overlap: which parts of
  // it they use is not in sysfs. An empty one overlaps nothing.
  bool overlaps(const storage&) const;

  // Returns true if this is the device, or lies on it.
  bool lies_on(dev_t) const;

 private:
  static constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();

  // Bytes [begin, end); if mapped, only some of them: a device-mapper table decides which.
  struct part {
    std::uint64_t begin = 0, end = no_end;
    bool mapped = false;
  };
  // A part of a file or a device.
  struct extent {
    bool is_device;
    dev_t device;  // itself, or that of the file's file system
    ino_t inode;   // of a file
    part used;
  };

  void add(const struct stat&, part, const std::string& sysfs);
  void add_device(dev_t, part, const std::string& sysfs);
  static bool overlap(const extent&, const extent&);

  std::vector<extent> extents_;
};

// An attached loop device.
struct loop_device {
  std::string name;  // "/dev/loop3"
  dev_t number;
  bool read_only;
};

// The attached loop devices that lie on the storage, except those that the storage lies on itself.
std::vector<loop_device> loop_devices_on(const storage&, const std::string& sysfs = default_sysfs);

}  // namespace persistent_data
