// SPDX-License-Identifier: GPL-3.0-or-later
// XML through the reader, by expat alone and with the shortcut: both accept the same documents, say
// the same of them, and name the same line in an error. An accepted document is restored, and its
// dump restores to the same.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "era/testing/round_trip.h"
#include "era/xml/reader.h"
#include "fuzz/edits.h"
#include "persistent-data/format/errors.h"

namespace era::fuzz {
namespace {

class recorder final : public xml::document {
 public:
  std::string text;

  void begin_superblock(const xml::superblock_element& e) override {
    text += fmt::format("superblock {} {} {}\n", e.block_size, e.nr_blocks, e.current_era);
  }
  void begin_writeset(era_nr era, std::uint32_t bits) override {
    text += fmt::format("writeset {} {}\n", era, bits);
  }
  void bits(origin_range r, bool value) override {
    text += fmt::format("bits {} {} {}\n", r.begin, r.end, value);
  }
  void end_writeset() override { text += "end writeset\n"; }
  void begin_era_array() override { text += "era array\n"; }
  void eras(origin_range r, era_nr era) override {
    text += fmt::format("eras {} {} {}\n", r.begin, r.end, era);
  }
  void end_era_array() override { text += "end era array\n"; }
  void end_superblock() override { text += "end superblock\n"; }
};

// Returns the error. The pieces in which the text comes must not matter.
std::string read(std::string_view text, std::size_t piece, xml::shortcut way, recorder& out) {
  std::size_t at = 0;
  const xml::byte_source source = [&](char* to, std::size_t size) {
    const std::size_t n = std::min({size, piece, text.size() - at});
    std::memcpy(to, text.data() + at, n);
    at += n;
    return n;
  };
  try {
    xml::read(source, "t.xml", out, {.way = way});
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

}  // namespace
}  // namespace era::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t piece = size > 0 && data[size - 1] % 4 == 0 ? 1 + data[size - 1] / 4 : 1 << 20;
  recorder fast, slow;
  const std::string error = read(text, piece, era::xml::shortcut::taken, fast);
  const std::string expected = read(text, 1 << 20, era::xml::shortcut::not_taken, slow);
  if (error != expected) fail("with the shortcut: " + error + "\nwithout: " + expected);
  if (error.empty() && fast.text != slow.text) fail("the shortcut reads another document");
  if (!error.empty()) return 0;
  static pd::test::scratch_device first(512), second(512);
  if (!era::test::restore_to(first.path(), text).empty()) return 0;
  const std::string wrong = era::test::findings_in(first.path());
  if (!wrong.empty()) fail("what was restored is not clean: " + wrong);
  if (slow.text.find("superblock ") != 0) fail("a document without a superblock was restored");
  const auto blocks = first[era::superblock_location].as<era::superblock>().nr_blocks;
  if (blocks > 50'000) return 0;
  const std::string xml = era::test::dump_of(first.path(), {.logical = false, .compact = true});
  const std::string why = era::test::restore_to(second.path(), xml);
  if (!why.empty()) fail("the dump is not restored: " + why);
  if (era::test::dump_of(second.path(), {.logical = false, .compact = true}) != xml)
    fail("dump, restore, dump is not the same");
  return 0;
}
