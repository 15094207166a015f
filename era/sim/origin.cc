// SPDX-License-Identifier: GPL-3.0-or-later
// A file or device is read and written at once, through the page cache.
#include "era/sim/origin.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era::sim {

void no_origin::read(std::uint64_t, std::uint64_t count, std::byte* data) {
  std::memset(data, 0, count * pd::sector_size);
}

file_origin::file_origin(std::string path)
    : opened_(std::move(path), pd::access::writing, pd::page_cache::for_all) {}

void file_origin::fail(const char* what, int error) const {
  opened_.fail(fmt::format("the origin cannot be {}: {}", what, std::strerror(error)));
}

void file_origin::read(std::uint64_t sector, std::uint64_t count, std::byte* data) {
  const int error = pd::read_whole(opened_.descriptor(), {data, count * pd::sector_size},
                                   sector * pd::sector_size, pd::system_calls::real());
  if (error != 0) fail("read", error);
}

void file_origin::write(std::uint64_t sector, std::uint64_t count, const std::byte* data) {
  const int error = pd::write_whole(opened_.descriptor(), {data, count * pd::sector_size},
                                    sector * pd::sector_size, pd::system_calls::real());
  if (error != 0) fail("written", error);
}

void file_origin::discard(std::uint64_t sector, std::uint64_t count) {
  const std::uint64_t range[2] = {sector * pd::sector_size, count * pd::sector_size};
  const int result =
      opened_.is_block_device()
          ? ::ioctl(opened_.descriptor(), BLKDISCARD, range)
          : ::fallocate(opened_.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(range[0]), static_cast<off_t>(range[1]));
  // A discard is a hint: devices and file systems may know none.
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOTTY) fail("discarded", errno);
}

void file_origin::flush() {
  if (const int error = pd::flush_data(opened_.descriptor(), pd::system_calls::real()))
    fail("flushed", error);
}

}  // namespace era::sim
