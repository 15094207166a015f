// SPDX-License-Identifier: GPL-3.0-or-later
// QEMU's own programs write the bitmap:
// 1. qemu-img makes a scratch image as large as the source, with an enabled bitmap.
// 2. qemu-nbd writes zeros over the changed ranges of it, and so marks them.
// 3. qemu-img makes the image with a scratch data file, since it would overwrite a data file with
//    zeros, and adds a disabled bitmap.
// 4. qemu-img merges the bitmap of the scratch image into it.
// 5. qemu-img puts the name of the source in the place of the scratch data file's. This does not
//    open the source.
//
// The scratch files have no name in any directory. The programs open them through /proc.
#include "era/backup/bitmap_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include "era/backup/nbd_target.h"
#include "era/backup/qcow2_image.h"
#include "era/format/units.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

namespace fs = std::filesystem;
namespace pd = persistent_data;

constexpr std::uint64_t max_bits = std::uint64_t{1} << 32;         // as qemu says
constexpr std::uint64_t max_granularity = std::uint64_t{1} << 31;  // as the format says
constexpr std::size_t max_bitmap_name = 1023;                      // the same
constexpr std::size_t piece = 32 << 20;

class scratch_file {
 public:
  explicit scratch_file(const std::string& directory)
      : fd_(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
    // A file system without unnamed files: in memory, then.
    if (!fd_ && (errno == EOPNOTSUPP || errno == EISDIR))
      fd_ = pd::unique_fd(::memfd_create("era_scratch", MFD_CLOEXEC));
    if (!fd_)
      throw pd::device_error(fmt::format("{}: cannot make a scratch file: {}", directory,
                                         std::generic_category().message(errno)));
  }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get()); }

 private:
  pd::unique_fd fd_;
};

// In a list of options of qemu-img.
std::string with_doubled_commas(const std::string& text) {
  std::string result;
  for (const char c : text) result.append(c == ',' ? 2 : 1, c);
  return result;
}

void validate(const bitmap_options& options) {
  if (options.name.empty() || options.name.size() > max_bitmap_name)
    throw pd::device_error(fmt::format("the name of a bitmap has 1 to {} bytes, and not {}",
                                       max_bitmap_name, options.name.size()));
  if (options.block_size == 0)
    throw pd::device_error(fmt::format("{}: blocks of no size", options.source));
  if (options.bytes % pd::sector_size != 0)
    throw pd::device_error(fmt::format("{}: {} bytes are no multiple of {}: no image is as large",
                                       options.source, options.bytes, pd::sector_size));
}

void mark(const std::string& scratch, const std::string& name, std::uint64_t bytes,
          const std::function<std::optional<byte_range>()>& feed) {
  // Its pages stay the page of zeros if the server takes requests to write zeros.
  const std::unique_ptr<std::byte, void (*)(void*)> zeros(
      static_cast<std::byte*>(std::calloc(piece, 1)), std::free);
  if (!zeros) throw pd::device_error(fmt::format("{}: no memory", name));

  const auto target = open_qcow2({.path = scratch, .name = name});
  std::size_t under_way = 0;
  while (const auto range = feed()) {
    const std::uint64_t end = std::min(range->end, bytes);
    for (std::uint64_t at = range->begin; at < end;) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(piece, end - at));
      const std::size_t tag = under_way < target->depth() ? under_way++ : target->wait();
      target->start({.tag = tag, .offset = at, .data = {zeros.get(), size}, .is_zero = true});
      at += size;
    }
  }
  for (; under_way > 0; --under_way) target->wait();
  target->flush();
  // A qemu-nbd that does not end as it should leaves a bitmap in use, and that cannot be merged.
}

}  // namespace

std::uint64_t bitmap_granularity(std::uint64_t bytes, std::uint32_t block_size) noexcept {
  const std::uint64_t least = std::bit_ceil(pd::divide_up(bytes, max_bits));
  return std::clamp(largest_power_in_block(block_size), least, max_granularity);
}

void create_bitmap_image(const std::string& path, const bitmap_options& options,
                         const std::function<std::optional<byte_range>()>& feed) {
  validate(options);
  const std::string granularity =
      fmt::to_string(bitmap_granularity(options.bytes, options.block_size));
  const std::string cluster =
      fmt::format("cluster_size={}", qcow2_cluster_bytes(options.bytes, options.block_size));
  const std::string size = fmt::to_string(options.bytes);
  const fs::path image = fs::absolute(path);
  const scratch_file marked(image.parent_path()), data(image.parent_path());

  run_qemu_img({"create", "-q", "-f", "qcow2", "-o", cluster, marked.path(), size});
  run_qemu_img(
      {"bitmap", "--add", "-g", granularity, "-f", "qcow2", "--", marked.path(), options.name});
  mark(marked.path(), path, options.bytes, feed);

  run_qemu_img({"create", "-q", "-f", "qcow2", "-o",
                fmt::format("{},data_file={},data_file_raw=on", cluster, data.path()), image,
                size});
  run_qemu_img({"bitmap", "--add", "--disable", "-g", granularity, "-f", "qcow2", "--", image,
                options.name});
  run_qemu_img({"bitmap", "--merge", options.name, "-b", marked.path(), "-F", "qcow2", "-f",
                "qcow2", "--", image, options.name});
  run_qemu_img({"amend", "-q", "-f", "qcow2", "-o",
                "data_file=" + with_doubled_commas(fs::absolute(options.source).string()), image});
}

}  // namespace era
