// SPDX-License-Identifier: GPL-3.0-or-later
// The lines that make up nearly all of a dump, recognised without a parser if they are written as
// era_dump writes them, byte for byte. A line that is not recognised, were it only for a number out
// of range, is for the parser to judge.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "era/format/units.h"

namespace era::xml {

// "bit" and "marked" have a value, which is true for marked; "era" and "range" have an era.
struct plain_line {
  const char* element;
  origin_range blocks;
  std::uint32_t value;
};

// Takes lines from a text, one at a time. Inlined into the loop over them, whatever the compiler
// thinks of it: that halves the time of a restore.
class plain_lines {
 public:
  explicit plain_lines(std::string_view text) noexcept
      : at_(text.data()), end_(text.data() + text.size()) {}

  // The rest of the text.
  std::string_view rest() const noexcept { return {at_, static_cast<std::size_t>(end_ - at_)}; }

  // Each returns false if the text does not continue with such a line, and then takes nothing; the
  // line is only changed if one was taken.
  [[gnu::always_inline]] bool of_writeset(plain_line& line) noexcept {
    const char* p = at_;
    origin_range blocks;
    if (skip(p, "    <bit block=\"")) {
      if (!number(p, max_origin_blocks, blocks.begin)) return false;
      blocks.end = blocks.begin + 1;
      past_block_ = p;
      if (skip(p, "\" value=\"true\"/>\n")) return took(p, line, {"bit", blocks, 1});
      return skip(p, "\" value=\"false\"/>\n") && took(p, line, {"bit", blocks, 0});
    }
    return skip(p, "    <marked block_begin=\"") && run(p, blocks) && skip(p, "\"/>\n") &&
           took(p, line, {"marked", blocks, 1});
  }

  [[gnu::always_inline]] bool of_era_array(plain_line& line) noexcept {
    const char* p = at_;
    origin_range blocks;
    std::uint32_t era = 0;
    if (skip(p, "    <era block=\"")) {
      if (!number(p, max_origin_blocks, blocks.begin)) return false;
      blocks.end = blocks.begin + 1;
      past_block_ = p;
      return era_and_end(p, era) && took(p, line, {"era", blocks, era});
    }
    return skip(p, "    <range block_begin=\"") && run(p, blocks) && era_and_end(p, era) &&
           took(p, line, {"range", blocks, era});
  }

  // Takes the lines after a bit or an era that was just taken, as long as each is the same for the
  // next block, and only the last digit of its number changes. Returns how many.
  [[gnu::always_inline]] std::uint64_t alike(const plain_line& last) noexcept {
    if (last.blocks.size() != 1 || past_block_ < begin_) return 0;
    const auto size = static_cast<std::size_t>(at_ - begin_);
    const auto digit = static_cast<std::size_t>(past_block_ - 1 - begin_);
    const std::uint64_t most = std::min<std::uint64_t>(static_cast<unsigned>('9' - begin_[digit]),
                                                       max_origin_blocks - last.blocks.begin);
    std::uint64_t taken = 0;
    for (; taken < most && static_cast<std::size_t>(end_ - at_) >= size; ++taken, at_ += size)
      if (at_[digit] != begin_[digit] + 1 + static_cast<char>(taken) || !same(at_, begin_, digit) ||
          !same(at_ + digit + 1, begin_ + digit + 1, size - digit - 1))
        break;
    return taken;
  }

 private:
  // As memcmp for 8 to 32 bytes, which such parts of a line have; inline.
  static bool same(const char* a, const char* b, std::size_t size) noexcept {
    const auto differ = [&](std::size_t at) {
      std::uint64_t x, y;
      std::memcpy(&x, a + at, sizeof x);
      std::memcpy(&y, b + at, sizeof y);
      return x ^ y;
    };
    std::uint64_t any = differ(0) | differ(size - 8);
    if (size > 16) any |= differ(8) | differ(size - 16);
    return any == 0;
  }

  bool took(const char* p, plain_line& line, const plain_line& taken) noexcept {
    begin_ = at_;
    at_ = p;
    line = taken;
    return true;
  }

  [[gnu::always_inline]] bool skip(const char*& p, std::string_view text) const noexcept {
    if (static_cast<std::size_t>(end_ - p) < text.size()) return false;
    if (std::string_view(p, text.size()) != text) return false;
    p += text.size();
    return true;
  }

  // Ends at the first character that is no digit; there has to be one.
  [[gnu::always_inline]] bool number(const char*& p, std::uint64_t max,
                                     std::uint64_t& value) const noexcept {
    constexpr int most_digits = 10;
    const char* const begin = p;
    value = 0;
    for (; p < end_; ++p) {
      const unsigned digit = static_cast<unsigned char>(*p) - unsigned{'0'};
      if (digit > 9) return p != begin && value <= max;
      if (p - begin == most_digits) return false;
      value = value * 10 + digit;
    }
    return false;
  }

  bool run(const char*& p, origin_range& blocks) const noexcept {
    std::uint64_t len = 0;
    if (!number(p, max_origin_blocks, blocks.begin) || !skip(p, "\" len=\"") ||
        !number(p, max_origin_blocks, len) || len == 0)
      return false;
    blocks.end = blocks.begin + len;
    return true;
  }

  bool era_and_end(const char*& p, std::uint32_t& era) const noexcept {
    std::uint64_t value = 0;
    if (!skip(p, "\" era=\"") || !number(p, 0xffffffff, value) || !skip(p, "\"/>\n")) return false;
    era = static_cast<std::uint32_t>(value);
    return true;
  }

  const char* at_;
  const char* end_;
  const char* begin_ = nullptr;       // of the last line taken
  const char* past_block_ = nullptr;  // the end of the block's number in it, if it has one block's
};

}  // namespace era::xml
