// SPDX-License-Identifier: GPL-3.0-or-later
// Opening what holds data, for reading or for writing.
#include "era/backup/data_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/block.h"

namespace era {

data_device::data_device(std::string path, pd::access how, pd::system_calls& calls)
    : opened_(std::move(path), how, pd::page_cache::for_files),
      calls_(calls),
      bytes_(opened_.bytes()) {
  if (bytes_ % pd::sector_size != 0)
    fail(fmt::format("has {} bytes, which is no whole number of sectors", bytes_));
}

std::unique_ptr<pd::io_engine> data_device::make_engine() const {
  return pd::make_engine(pd::resolve(pd::engine_choice::automatic, is_block_device()), descriptor(),
                         calls_);
}

void data_device::resize(std::uint64_t bytes) {
  while (::ftruncate(descriptor(), static_cast<off_t>(bytes)) != 0)
    if (errno != EINTR)
      fail(fmt::format("cannot be made {} bytes long: {}", bytes, std::strerror(errno)));
  bytes_ = bytes;
}

std::uint64_t data_device::sector_bytes() const {
  int bytes = 1;
  if (is_block_device() && ::ioctl(descriptor(), BLKSSZGET, &bytes) != 0)
    fail(fmt::format("cannot tell the size of its sectors: {}", std::strerror(errno)));
  return static_cast<std::uint64_t>(bytes);
}

void data_device::write_through_cache() {
  const int flags = ::fcntl(descriptor(), F_GETFL);
  if (flags < 0 || ::fcntl(descriptor(), F_SETFL, flags & ~O_DIRECT) != 0)
    fail(fmt::format("cannot be written through the page cache: {}", std::strerror(errno)));
}

}  // namespace era
