// SPDX-License-Identifier: GPL-3.0-or-later
// By qemu-img.
#include "era/testing/qemu_images.h"

#include <jansson.h>

#include "config.h"
#include "era/backup/run_program.h"
#include "era/testing/error_of.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era::test {

std::optional<std::string> why_no_images() {
#ifdef HAVE_LIBNBD
  const std::string error = error_of([] { run_program({"qemu-nbd", "--version"}, "qemu-utils"); });
  return error.empty() ? std::nullopt : std::optional(error);
#else
  return "built without libnbd";
#endif
}

std::string data_of_image(const std::string& path, const std::string& scratch) {
  run_program({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, scratch}, "qemu-utils");
  return persistent_data::test::content_of(scratch);
}

std::uint64_t allocated_bytes(const std::string& path) {
  const std::string text =
      run_program({"qemu-img", "map", "--output=json", "-f", "qcow2", path}, "qemu-utils");
  json_t* const map = json_loads(text.c_str(), 0, nullptr);
  std::uint64_t bytes = 0;
  std::size_t i = 0;
  json_t* part = nullptr;
  json_array_foreach(map, i, part) {
    const bool is_own = json_integer_value(json_object_get(part, "depth")) == 0;
    if (is_own && json_is_true(json_object_get(part, "data")))
      bytes += static_cast<std::uint64_t>(json_integer_value(json_object_get(part, "length")));
  }
  json_decref(map);
  return bytes;
}

}  // namespace era::test
