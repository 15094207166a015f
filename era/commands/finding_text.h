// SPDX-License-Identifier: GPL-3.0-or-later
// Findings as the commands show them: a line of text, or a JSON object.
#pragma once

#include <string>
#include <string_view>

#include "era/damage/finding.h"

namespace era {

// "PATH: metadata blocks 17 to 20: era array: what is wrong; what it means"
std::string in_words(const std::string& path, const finding&);

std::string in_json(const finding&);

// A JSON string, quoted; what is not UTF-8 becomes the replacement character.
std::string json_string(std::string_view);

}  // namespace era
