// SPDX-License-Identifier: GPL-3.0-or-later
// The file or device that the name of an output leads to, through its symbolic links.
#pragma once

#include <string>

namespace era {

struct output_place {
  // An open descriptor of this program, for names such as /dev/stdout and /dev/fd/3; else negative.
  int descriptor = -1;
  // Else a name in a directory, which may be there or not, and is no symbolic link. So a link to
  // nothing names the file.
  std::string directory, name;
};

// path must not be empty. Throws device_error.
output_place find_output_place(const std::string& path);

}  // namespace era
