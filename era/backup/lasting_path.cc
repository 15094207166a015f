// SPDX-License-Identifier: GPL-3.0-or-later
// Links in directories are always resolved: ".." after one leads elsewhere than it seems.
#include "era/backup/lasting_path.h"

#include <filesystem>

namespace era {

namespace fs = std::filesystem;

bool is_block_device(const std::string& path) noexcept {
  std::error_code ignored;
  return fs::is_block_file(path, ignored);
}

std::string lasting_path(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  if (error) return path;
  const bool keeps_name = is_block_device(path) && whole.has_filename();
  const fs::path found = keeps_name
                             ? fs::weakly_canonical(whole.parent_path(), error) / whole.filename()
                             : fs::weakly_canonical(whole, error);
  return error ? path : found.string();
}

}  // namespace era
