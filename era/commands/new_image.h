// SPDX-License-Identifier: GPL-3.0-or-later
// An image that another program makes, and that has its name only when it is whole.
#pragma once

#include <optional>
#include <string>

#include "era/commands/temporary_name.h"
#include "persistent-data/io/system_calls.h"
#include "persistent-data/io/unique_fd.h"

namespace era {

class new_image {
 public:
  // Makes an empty file that only its owner may read. Throws device_error if there is a file of
  // that name already: other images may depend on it; or if its directory cannot be written.
  explicit new_image(std::string path,
                     persistent_data::system_calls& = persistent_data::system_calls::real());
  // Removes the file, unless it has its name. A signal that ends the program does so, too.
  ~new_image() = default;
  new_image(const new_image&) = delete;
  new_image& operator=(const new_image&) = delete;

  // Where the file is until then: in the same directory.
  const std::string& temporary_path() const noexcept { return temporary_path_; }

  // Flushes the file, gives it its name, and flushes the directory. Throws device_error, also if
  // there is a file of that name by now; the image has not got its name then.
  void commit();
  // Removes the file again, after commit(): nothing refers to it yet.
  void take_back() noexcept;

 private:
  [[noreturn]] void fail(int error) const;

  persistent_data::system_calls& calls_;
  std::string path_, file_name_, temporary_path_;
  persistent_data::unique_fd directory_;
  std::optional<temporary_name> temporary_;
};

}  // namespace era
