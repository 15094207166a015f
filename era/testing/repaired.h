// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of repair: a small piece of metadata, ways to damage it, and what a repair makes of it.
#pragma once

#include <cstdint>
#include <string>

#include "era/repair/salvage.h"
#include "era/testing/image_builder.h"

namespace era::test {

// 3000 blocks of eras 1 and 2, archived writesets of eras 5 and 7, and a current one of era 9.
metadata_description small_metadata();

struct repaired {
  std::string error, said;  // said: damage and assumptions, a line each
  std::string xml;          // of what was repaired, compact
};
repaired repair(const built_metadata& from, const repair_options& given = {});

// Makes the block's checksum wrong.
void lose(built_metadata&, std::uint64_t block);

// The leaf's value i, which must be a le64.
std::uint64_t leaf_value(const built_metadata&, std::uint64_t node, std::uint32_t i);

}  // namespace era::test
