// SPDX-License-Identifier: GPL-3.0-or-later
// How many files this process, and the programs that it starts, may have open.
#pragma once

#include <cstdint>
#include <string>

namespace era {

// Lets so many files be open, if the soft limit is lower. Throws device_error if the hard limit is;
// the message begins with `who` and says how to raise it.
void allow_open_files(std::uint64_t needed, const std::string& who);

}  // namespace era
