// SPDX-License-Identifier: GPL-3.0-or-later
// One notion of "in use" for everything that the tools read exclusively or write.
//
// A file or block device is in use if
// - the kernel has it open exclusively: mounted, swap, below a mapped device (O_EXCL; only block
//   devices know that);
// - another of these tools reads or writes it (flock; files only, since udev locks devices, too);
// - another program holds a lock on it (fcntl, of a process or of an open file). qemu and its tools
//   lock single bytes of images; see in_use.cc;
// - a loop device lies on it.
#pragma once

#include <string>

#include "persistent-data/io/storage.h"

namespace persistent_data {

// The message if open() with O_EXCL fails with EBUSY.
inline constexpr const char* held_by_kernel =
    "is in use: mounted, or held by device-mapper; stop its user first";

// Makes sure that nobody writes to an open file or device, and keeps others from it as far as they
// look: what it locks stays locked until fd is closed. A loop device on it may be attached if it is
// read-only, or if nobody has it open exclusively. Throws device_error, "PATH: is in use ...".
// path: for messages. File systems without locks are no reason to fail.
void claim_for_reading(int fd, const std::string& path, const std::string& sysfs = default_sysfs);

// Makes sure that nobody reads or writes it, and keeps others from it, likewise. A loop device on
// it must not be attached. fd has to be open for writing.
void claim_for_writing(int fd, const std::string& path, const std::string& sysfs = default_sysfs);

}  // namespace persistent_data
