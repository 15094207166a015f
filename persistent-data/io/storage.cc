// SPDX-License-Identifier: GPL-3.0-or-later
// In sysfs, a block device has a directory dev/block/MAJOR:MINOR, in which
// - `partition` says that the device is one; `start` and `size` are its place in sectors, and the
//   directory of its disk is the one above;
// - `loop/backing_file` names the file of an attached loop device, `loop/offset` and
//   `loop/sizelimit` its place in it in bytes (a limit of 0: to its end);
// - `slaves/*` are the devices below a mapped one.
//
// If sysfs is not mounted, loop devices are asked themselves, and partitions and mapped devices are
// taken for disks.
#include "persistent-data/io/storage.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "persistent-data/format/block.h"

namespace persistent_data {
namespace {

namespace fs = std::filesystem;

// More than any sane stack of devices has; a circle ends here.
constexpr std::size_t max_extents = 1000;

fs::path directory_of(const std::string& sysfs, dev_t device) {
  return fs::path(sysfs) / "dev/block" / fmt::format("{}:{}", major(device), minor(device));
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The entries of a directory; none if it cannot be read.
std::vector<fs::path> entries_of(const fs::path& directory) {
  std::error_code ignored;
  std::vector<fs::path> entries;
  for (fs::directory_iterator i(directory, ignored), end; !ignored && i != end;
       i.increment(ignored))
    entries.push_back(i->path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::uint64_t number_in(const fs::path& path) {
  std::uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

// The content of a file such as "8:1\n".
std::optional<dev_t> device_in(const fs::path& path) {
  unsigned int major_number = 0, minor_number = 0;
  char colon = 0;
  std::ifstream in(path);
  if (!(in >> major_number >> colon >> minor_number) || colon != ':') return {};
  return makedev(major_number, minor_number);
}

std::string node_of(const fs::path& sysfs_directory) {
  return "/dev/" + sysfs_directory.filename().string();
}

bool has_devices(const std::string& sysfs) { return is_there(fs::path(sysfs) / "dev/block"); }

// The place of an attached loop device.
struct attachment {
  struct stat file {};
  std::uint64_t offset = 0, limit = 0;  // in bytes; a limit of 0: to the end of the file
  bool read_only = false;
};

std::string node_of_loop(dev_t loop) { return fmt::format("/dev/loop{}", minor(loop)); }

// As the device itself says, which takes a right to open it.
std::optional<attachment> ask(dev_t loop) {
  const int fd = ::open(node_of_loop(loop).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return {};
  struct stat status {};
  loop_info64 info{};
  const bool known = ::fstat(fd, &status) == 0 && S_ISBLK(status.st_mode) &&
                     status.st_rdev == loop && ::ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
  ::close(fd);
  if (!known) return {};
  attachment found{.offset = info.lo_offset,
                   .limit = info.lo_sizelimit,
                   .read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0};
  // A device below it is named by lo_rdevice.
  found.file.st_mode = info.lo_rdevice != 0 ? S_IFBLK : S_IFREG;
  found.file.st_dev = info.lo_device;
  found.file.st_ino = info.lo_inode;
  found.file.st_rdev = info.lo_rdevice;
  return found;
}

// The device itself knows best: the name in sysfs is that of the attaching process, and may be gone
// or another's.
std::optional<attachment> attachment_of(dev_t device, const std::string& sysfs) {
  if (!has_devices(sysfs)) return major(device) == LOOP_MAJOR ? ask(device) : std::nullopt;
  const fs::path directory = directory_of(sysfs, device);
  std::string name;
  std::ifstream in(directory / "loop/backing_file");
  if (!in) return {};
  if (const auto known = ask(device)) return known;
  attachment found{.offset = number_in(directory / "loop/offset"),
                   .limit = number_in(directory / "loop/sizelimit")};
  if (!std::getline(in, name) || ::stat(name.c_str(), &found.file) != 0) return {};
  return found;
}

}  // namespace

storage storage::at(const std::string& path, const std::string& sysfs) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return of(status, sysfs);
}

storage storage::of(const struct stat& status, const std::string& sysfs) {
  storage result;
  result.add(status, {}, sysfs);
  return result;
}

storage storage::of_descriptor(int fd, const std::string& sysfs) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return {};
  return of(status, sysfs);
}

storage storage::of_device(dev_t device, const std::string& sysfs) {
  storage result;
  result.add_device(device, {}, sysfs);
  return result;
}

void storage::add(const struct stat& status, part used, const std::string& sysfs) {
  if (S_ISBLK(status.st_mode))
    add_device(status.st_rdev, used, sysfs);
  else
    extents_.push_back({false, status.st_dev, status.st_ino, used});
}

void storage::add_device(dev_t device, part used, const std::string& sysfs) {
  if (extents_.size() >= max_extents) return;
  extents_.push_back({true, device, 0, used});
  const fs::path directory = directory_of(sysfs, device);
  // The same bytes in what is below, of which the device is `size` bytes from `offset` on.
  const auto below = [&](std::uint64_t offset, std::uint64_t size) {
    const std::uint64_t end = std::min(used.end, size);
    return part{offset + used.begin, end == no_end ? no_end : offset + end, used.mapped};
  };
  if (is_there(directory / "partition")) {
    if (const auto disk = device_in(directory / "../dev"))
      add_device(*disk,
                 below(number_in(directory / "start") * sector_size,
                       number_in(directory / "size") * sector_size),
                 sysfs);
  } else if (const auto loop = attachment_of(device, sysfs)) {
    add(loop->file, below(loop->offset, loop->limit == 0 ? no_end : loop->limit), sysfs);
  }
  for (const fs::path& slave : entries_of(directory / "slaves"))
    if (const auto lower = device_in(slave / "dev")) add_device(*lower, {.mapped = true}, sysfs);
}

bool storage::overlap(const extent& a, const extent& b) {
  const bool same = a.is_device == b.is_device && a.device == b.device && a.inode == b.inode;
  return same && a.used.begin < b.used.end && b.used.begin < a.used.end &&
         !(a.used.mapped && b.used.mapped);
}

bool storage::overlaps(const storage& other) const {
  return std::any_of(extents_.begin(), extents_.end(), [&](const extent& a) {
    return std::any_of(other.extents_.begin(), other.extents_.end(),
                       [&](const extent& b) { return overlap(a, b); });
  });
}

bool storage::lies_on(dev_t device) const {
  return std::any_of(extents_.begin(), extents_.end(),
                     [&](const extent& e) { return e.is_device && e.device == device; });
}

namespace {

std::vector<loop_device> attached_loop_devices(const std::string& sysfs) {
  std::vector<loop_device> found;
  if (has_devices(sysfs)) {
    for (const fs::path& directory : entries_of(fs::path(sysfs) / "block"))
      if (is_there(directory / "loop/backing_file"))
        if (const auto number = device_in(directory / "dev"))
          found.push_back({node_of(directory), *number, number_in(directory / "ro") != 0});
    return found;
  }
  for (const fs::path& node : entries_of("/dev")) {
    struct stat status {};
    if (!node.filename().string().starts_with("loop") || ::stat(node.c_str(), &status) != 0 ||
        !S_ISBLK(status.st_mode) || major(status.st_rdev) != LOOP_MAJOR)
      continue;
    if (const auto loop = ask(status.st_rdev))
      found.push_back({node.string(), status.st_rdev, loop->read_only});
  }
  return found;
}

}  // namespace

std::vector<loop_device> loop_devices_on(const storage& below, const std::string& sysfs) {
  std::vector<loop_device> found = attached_loop_devices(sysfs);
  std::erase_if(found, [&](const loop_device& loop) {
    return below.lies_on(loop.number) || !storage::of_device(loop.number, sysfs).overlaps(below);
  });
  return found;
}

}  // namespace persistent_data
