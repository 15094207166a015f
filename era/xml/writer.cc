// SPDX-License-Identifier: GPL-3.0-or-later
// Formatting for speed: a line is two copies of fixed size, its begin with the block's number, and
// its end.
#include "era/xml/writer.h"

#include <cassert>
#include <cstring>
#include <string_view>

#include "era/text/format_fast.h"

namespace era::xml {
namespace {

// The longest line: an era of ten digits for a block of ten digits.
constexpr std::size_t max_line = 64;
// The longest line of the compact form: three numbers of up to 20 digits.
constexpr std::size_t max_run_line = 128;

constexpr fixed_text bit_begin = std::string_view("    <bit block=\"");
constexpr fixed_text bit_end[] = {std::string_view("\" value=\"false\"/>\n"),
                                  std::string_view("\" value=\"true\"/>\n")};
constexpr fixed_text era_begin = std::string_view("    <era block=\"");
constexpr fixed_text era_middle = std::string_view("\" era=\"");
constexpr fixed_text marked_begin = std::string_view("    <marked block_begin=\"");
constexpr fixed_text range_begin = std::string_view("    <range block_begin=\"");
constexpr fixed_text len = std::string_view("\" len=\"");
constexpr fixed_text line_end = std::string_view("\"/>\n");

// Puts a line for each block: begin, the block's number, and what put_end(to, i) puts for the block
// with index i. The numbers of ten blocks differ in the last digit alone. It is changed in the line
// that was put, not in the text that the next line is copied from: the copy would wait for that.
template <class PutEnd>
void put_lines(text_buffer& text, const fixed_text& begin, origin_range blocks, PutEnd put_end) {
  char* to = text.room(blocks.size() * max_line + copy_size);
  for (std::uint64_t i = 0; i < blocks.size();) {
    fixed_text ten = begin;
    const fmt::format_int number(blocks.begin + i);
    assert(begin.size + number.size() <= copy_size);
    ten.size = static_cast<std::size_t>(put(ten.bytes + begin.size, number) - ten.bytes);
    for (char digit = ten.bytes[ten.size - 1]; digit <= '9' && i < blocks.size(); ++digit, ++i) {
      char* const rest = put(to, ten);
      rest[-1] = digit;
      to = put_end(rest, i);
    }
  }
  text.written_to(to);
}

// The end of the line of a block with this era.
fixed_text era_end(std::uint32_t era) {
  fixed_text end = era_middle;
  const char* const past =
      put(put(end.bytes + end.size, fmt::format_int(era)), std::string_view("\"/>\n"));
  end.size = static_cast<std::size_t>(past - end.bytes);
  return end;
}

template <class... Args>
void append(text_buffer& text, fmt::format_string<Args...> format, Args&&... args) {
  constexpr std::size_t enough = 256;
  const auto result =
      fmt::format_to_n(text.room(enough), enough, format, std::forward<Args>(args)...);
  assert(result.size <= enough);
  text.written_to(result.out);
}

std::string in_words(const uuid_bytes& uuid) {
  if (uuid == uuid_bytes{}) return "";
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i)
    text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
  return text;
}

}  // namespace

void begin_superblock(text_buffer& text, const superblock& sb) {
  append(text, "<superblock uuid=\"{}\" block_size=\"{}\" nr_blocks=\"{}\" current_era=\"{}\">\n",
         in_words(sb.uuid), std::uint32_t{sb.data_block_size}, std::uint32_t{sb.nr_blocks},
         std::uint32_t{sb.current_era});
}

void end_superblock(text_buffer& text) { text.append("</superblock>\n"); }

void begin_writeset(text_buffer& text, era_nr era, std::uint32_t nr_bits) {
  append(text, "  <writeset era=\"{}\" nr_bits=\"{}\">\n", era, nr_bits);
}

void end_writeset(text_buffer& text) { text.append("  </writeset>\n"); }

void begin_era_array(text_buffer& text) { text.append("  <era_array>\n"); }

void end_era_array(text_buffer& text) { text.append("  </era_array>\n"); }

void bits(text_buffer& text, origin_range blocks, std::span<const pd::le64> words) {
  assert(blocks.begin % 64 == 0 && blocks.size() <= words.size() * 64);
  put_lines(text, bit_begin, blocks, [&](char* to, std::uint64_t i) {
    return put(to, bit_end[words[i / 64] >> i % 64 & 1]);
  });
}

void equal_bits(text_buffer& text, origin_range blocks, bool value) {
  put_lines(text, bit_begin, blocks,
            [&](char* to, std::uint64_t) { return put(to, bit_end[value ? 1 : 0]); });
}

void equal_eras(text_buffer& text, origin_range blocks, era_nr era) {
  put_lines(text, era_begin, blocks,
            [end = era_end(era.value)](char* to, std::uint64_t) { return put(to, end); });
}

void eras(text_buffer& text, origin_block first, std::span<const std::uint32_t> values) {
  std::uint32_t last = 0;
  fixed_text end = era_end(last);  // neighbours often have the same
  put_lines(text, era_begin, {first.value, first.value + values.size()},
            [&](char* to, std::uint64_t i) {
              if (values[i] != last) end = era_end(last = values[i]);
              return put(to, end);
            });
}

void marked(text_buffer& text, origin_range blocks) {
  char* to = text.room(max_run_line + copy_size);
  to = put(to, marked_begin);
  to = put(to, fmt::format_int(blocks.begin));
  to = put(to, len);
  to = put(to, fmt::format_int(blocks.size()));
  text.written_to(put(to, line_end));
}

void era_range(text_buffer& text, origin_range blocks, era_nr era) {
  char* to = text.room(max_run_line + copy_size);
  to = put(to, range_begin);
  to = put(to, fmt::format_int(blocks.begin));
  to = put(to, len);
  to = put(to, fmt::format_int(blocks.size()));
  to = put(to, era_middle);
  to = put(to, fmt::format_int(era.value));
  text.written_to(put(to, line_end));
}

}  // namespace era::xml
