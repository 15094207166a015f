// SPDX-License-Identifier: GPL-3.0-or-later
// Repairs onto a device of its own, which must then be without damage.
#include "era/testing/repaired.h"

#include <gtest/gtest.h>

#include "era/testing/round_trip.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_device.h"

namespace era::test {

metadata_description small_metadata() {
  metadata_description d;
  d.nr_blocks = 3000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t i) { return i < 1500 ? 1u : 2u; };
  d.archived = {{5, 3000, [](std::uint64_t i) { return i < 10; }},
                {7, 3000, [](std::uint64_t i) { return i == 20; }}};
  d.current = {9, 3000, [](std::uint64_t i) { return i == 30; }};
  return d;
}

repaired repair(const built_metadata& from, const repair_options& given) {
  pd::test::scratch_device output(4096);
  repaired result;
  const repair_report report{
      [&](const finding& f) { result.said += in_words(f.where) + ": " + f.error.text + '\n'; },
      [&](const std::string& text) { result.said += text + '\n'; }};
  try {
    result.error = repair_to(from.path(), output.path(), given, report);
  } catch (const pd::damaged_metadata& e) {
    result.error = e.what();
  }
  if (!result.error.empty()) return result;
  EXPECT_EQ(findings_in(output.path()), "");
  result.xml = dump_of(output.path(), {.compact = true});
  return result;
}

void lose(built_metadata& m, std::uint64_t block) {
  pd::block b = m.read({block});
  b.bytes[2000] ^= std::byte{1};
  m.write({block}, b);
}

std::uint64_t leaf_value(const built_metadata& m, std::uint64_t node, std::uint32_t i) {
  const pd::block b = m.read({node});
  return pd::node_view(b).value<pd::le64>(i);
}

}  // namespace era::test
