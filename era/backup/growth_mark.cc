// SPDX-License-Identifier: GPL-3.0-or-later
// The mark is a line of text, for whoever looks at the file, and zeros.
#include "era/backup/growth_mark.h"

#include <charconv>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

constexpr std::string_view beginning = "era_backup has not finished this image: its first ";

std::string mark_of(std::uint64_t bytes, std::uint64_t held_bytes) {
  std::string text =
      fmt::format("{}{} of {} bytes were there before\n", beginning, held_bytes, bytes);
  text.resize(growth_mark_bytes, '\0');
  return text;
}

}  // namespace

std::optional<std::uint64_t> find_growth_mark(int fd, std::uint64_t file_bytes,
                                              pd::system_calls& calls) {
  if (file_bytes < growth_mark_bytes) return {};
  const std::uint64_t bytes = file_bytes - growth_mark_bytes;
  std::string last(growth_mark_bytes, '\0');
  if (pd::read_whole(fd, std::as_writable_bytes(std::span(last)), bytes, calls) != 0) return {};
  if (!last.starts_with(beginning)) return {};
  std::uint64_t held = 0;
  std::from_chars(last.data() + beginning.size(), last.data() + last.size(), held);
  if (held > bytes || last != mark_of(bytes, held)) return {};
  return held;
}

int put_growth_mark(int fd, std::uint64_t bytes, std::uint64_t held_bytes,
                    pd::system_calls& calls) {
  const std::string text = mark_of(bytes, held_bytes);
  const int error = pd::write_whole(fd, std::as_bytes(std::span(text)), bytes, calls);
  return error != 0 ? error : pd::flush_file(fd, calls);
}

}  // namespace era
