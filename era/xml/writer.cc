// SPDX-License-Identifier: GPL-3.0-or-later
// Formatting for speed: a line is a few copies of fixed size, and numbers count up in place.
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

// A block number that counts up: its digits are kept in a buffer from which a fixed size is copied.
class counter_text {
 public:
  explicit counter_text(std::uint64_t value) : counter_(value) { reload(); }

  char* put(char* to) const {
    std::memcpy(to, text_, sizeof text_);
    return to + size_;
  }

  // Only the last digit changes nine times out of ten.
  void increment() {
    counter_.increment();
    if (text_[size_ - 1] != '9') {
      ++text_[size_ - 1];
      return;
    }
    reload();
  }

 private:
  void reload() {
    const std::string_view digits = counter_.text();
    assert(digits.size() <= sizeof text_);
    std::memcpy(text_, digits.data(), digits.size());
    size_ = digits.size();
  }

  decimal_counter counter_;
  char text_[16] = {};
  std::size_t size_ = 0;
};

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

// A line for each block, by put_line(to, number) -> to.
template <class PutLine>
void put_numbered(text_buffer& text, origin_range blocks, PutLine put_line) {
  char* to = text.room(blocks.size() * max_line + copy_size);
  counter_text number(blocks.begin);
  for (std::uint64_t i = blocks.begin; i < blocks.end; ++i) {
    to = put_line(to, number);
    number.increment();
  }
  text.written_to(to);
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
  char* to = text.room(blocks.size() * max_line + copy_size);
  counter_text number(blocks.begin);
  for (std::uint64_t i = 0; i < blocks.size(); ++i) {
    const std::uint64_t word = words[i / 64] >> i % 64;
    to = put(to, bit_begin);
    to = number.put(to);
    to = put(to, bit_end[word & 1]);
    number.increment();
  }
  text.written_to(to);
}

void equal_bits(text_buffer& text, origin_range blocks, bool value) {
  put_numbered(text, blocks, [&](char* to, const counter_text& number) {
    return put(number.put(put(to, bit_begin)), bit_end[value ? 1 : 0]);
  });
}

void equal_eras(text_buffer& text, origin_range blocks, era_nr era) {
  const fmt::format_int digits(era.value);
  put_numbered(text, blocks, [&](char* to, const counter_text& number) {
    to = put(number.put(put(to, era_begin)), era_middle);
    return put(put(to, digits), line_end);
  });
}

void eras(text_buffer& text, origin_block first, std::span<const std::uint32_t> values) {
  char* to = text.room(values.size() * max_line + copy_size);
  counter_text number(first.value);
  std::uint32_t last = 0;
  decimal_counter era(last);  // neighbours often have the same
  for (const std::uint32_t value : values) {
    if (value != last) era.set(last = value);
    to = put(to, era_begin);
    to = number.put(to);
    to = put(to, era_middle);
    to = put(to, era.text());
    to = put(to, line_end);
    number.increment();
  }
  text.written_to(to);
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
