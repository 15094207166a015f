// SPDX-License-Identifier: GPL-3.0-or-later
// XML through the reader, by expat alone and with the shortcut: both accept the same documents, say
// the same of them, and name the same line in an error. An accepted document is restored, and its
// dump restores to the same.
#include <string>

#include "era/testing/recorded_document.h"
#include "era/testing/round_trip.h"
#include "fuzz/edits.h"
#include "persistent-data/format/errors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t piece = size > 0 && data[size - 1] % 4 == 0 ? 1 + data[size - 1] / 4 : 1 << 20;
  era::test::recorder fast, slow;
  fast.refused = slow.refused = ~std::uint64_t{0};
  const std::string error = era::test::error_of(text, fast, piece);
  const std::string expected =
      era::test::error_of(text, slow, 1 << 20, era::xml::shortcut::not_taken);
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
