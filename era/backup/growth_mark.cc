// SPDX-License-Identifier: GPL-3.0-or-later
// The mark is a line of text, for whoever looks at the file, and zeros.
#include "era/backup/growth_mark.h"

#include <charconv>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/opened_storage.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

constexpr std::string_view beginning = "era_backup has not finished this image: its first ";

std::string mark_of(const plain_image_size& image) {
  std::string text =
      fmt::format("{}{} of {} bytes were there before\n", beginning, image.held_bytes, image.bytes);
  text.resize(growth_mark_bytes, '\0');
  return text;
}

}  // namespace

plain_image_size measure_plain_image(int fd, const std::string& path, std::uint64_t file_bytes,
                                     pd::system_calls& calls) {
  const plain_image_size unmarked{file_bytes, file_bytes, false};
  if (file_bytes < growth_mark_bytes) return unmarked;
  plain_image_size marked{file_bytes - growth_mark_bytes, 0, true};
  std::string last(growth_mark_bytes, '\0');
  if (const int error =
          pd::read_whole(fd, std::as_writable_bytes(std::span(last)), marked.bytes, calls))
    throw pd::device_error(
        fmt::format("{}: its last sector cannot be read: {}", path, std::strerror(error)));
  if (!last.starts_with(beginning)) return unmarked;
  std::from_chars(last.data() + beginning.size(), last.data() + last.size(), marked.held_bytes);
  return marked.held_bytes <= marked.bytes && last == mark_of(marked) ? marked : unmarked;
}

plain_image_size measure_plain_image(const std::string& path) {
  const pd::opened_storage image(path, pd::access::shared, pd::page_cache::for_all);
  if (image.is_block_device()) return {image.bytes(), image.bytes(), false};
  return measure_plain_image(image.descriptor(), path, image.bytes(), pd::system_calls::real());
}

int put_growth_mark(int fd, const plain_image_size& image, pd::system_calls& calls) {
  const std::string text = mark_of(image);
  const int error = pd::write_whole(fd, std::as_bytes(std::span(text)), image.bytes, calls);
  return error != 0 ? error : pd::flush_file(fd, calls);
}

}  // namespace era
