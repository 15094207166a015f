// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of the reader: a document that keeps what it is told.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "era/xml/reader.h"
#include "persistent-data/format/errors.h"

namespace era::test {

// Keeps everything that the reader says, a line each; neighbouring runs of the same value are one.
// Throws at the block `refused`.
struct recorder : xml::element_sink {
  void begin_superblock(const xml::superblock_element& sb) override {
    text += fmt::format("superblock {} {} {}\n", sb.block_size, sb.nr_blocks, sb.current_era);
  }
  void begin_writeset(era_nr era, std::uint32_t nr_bits) override {
    text += fmt::format("writeset {} {}\n", era, nr_bits);
  }
  void bits(origin_range b, bool value) override {
    if (b.begin <= refused && refused < b.end) throw pd::invalid_input("no such thing");
    add("bits ", b, value ? "true" : "false");
  }
  void end_writeset() override { text += "end writeset\n"; }
  void begin_era_array() override { text += "array\n"; }
  void eras(origin_range b, era_nr era) override {
    if (b.begin <= refused && refused < b.end) throw std::bad_exception();
    add("eras ", b, fmt::to_string(era));
  }
  void end_era_array() override { text += "end array\n"; }
  void end_superblock() override { text += "end superblock\n"; }

  std::string text;
  std::uint64_t refused = 1000000;

 private:
  void add(std::string_view what, origin_range b, const std::string& value) {
    const std::string end = fmt::format(" {} {}\n", b.begin, value);
    const std::size_t newline = text.empty() ? text.npos : text.rfind('\n', text.size() - 2);
    const std::size_t last_line = newline == text.npos ? 0 : newline + 1;
    if (text.ends_with(end) && std::string_view(text).substr(last_line).starts_with(what))
      text.resize(text.size() - end.size());
    else
      text += fmt::format("{}{}", what, b.begin);
    text += fmt::format(" {} {}\n", b.end, value);
  }
};

// Reads the document, named "t.xml" in messages, in pieces of `piece` bytes. Returns the error, or
// "".
inline std::string error_of(const std::string& xml, recorder& out, std::size_t piece = 1 << 20,
                            xml::shortcut way = xml::shortcut::taken) {
  std::size_t at = 0;
  const auto source = [&](char* to, std::size_t size) {
    const std::size_t now = std::min({size, piece, xml.size() - at});
    std::copy_n(xml.data() + at, now, to);
    at += now;
    return now;
  };
  try {
    xml::read(source, "t.xml", out, {.way = way});
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

}  // namespace era::test
