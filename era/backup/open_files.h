// SPDX-License-Identifier: GPL-3.0-or-later
// How many files this process, and the programs that it starts, may have open.
#pragma once

#include <cstdint>
#include <string>

namespace era {

// Raises the soft limit of open files to `needed`, if it is lower. Throws device_error if the hard
// limit is: "WHO needs 90 open files, and no more than 64 files may be open: raise the limit
// (ulimit -n)", and then `other_ways`.
void allow_open_files(std::uint64_t needed, const std::string& who,
                      const std::string& other_ways = "");

}  // namespace era
