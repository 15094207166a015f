// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of compression: text that is packed and unpacked in memory, in the formats that the
// tools are built with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "era/xml/compression.h"

namespace era::xml::test {

struct library {
  compression kind;
  const char* name;
  bool is_there;
};
extern const std::vector<library> libraries;
// The formats whose libraries are there.
std::vector<compression> known_formats();

// Some megabytes that are worth packing.
std::string some_text();

std::string packed(compression, const std::string& text);
// Throws invalid_input.
std::string unpacked(compression, std::string_view content);
// The error of unpacking; empty if there is none.
std::string unpack_error(compression, std::string_view content);

}  // namespace era::xml::test
