// SPDX-License-Identifier: GPL-3.0-or-later
// All that is done to an image as a whole is done by qemu-img.
#include "era/backup/qcow2_image.h"

#include <jansson.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "era/backup/run_program.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

namespace fs = std::filesystem;
namespace pd = persistent_data;

constexpr const char* package = "qemu-utils";
constexpr std::uint64_t max_cluster = 64 << 10, min_cluster = 512;
constexpr std::string_view qcow2_magic = "QFI\xfb";

// As the image at path has to name it.
std::string name_in_chain(const fs::path& backing, const fs::path& image) {
  std::error_code ignored;
  const fs::path there = fs::canonical(backing, ignored);
  const fs::path here = fs::canonical(fs::absolute(image).parent_path(), ignored);
  return there.parent_path() == here ? "./" + there.filename().string() : there.string();
}

}  // namespace

bool begins_like_qcow2(const std::string& path) {
  char first[4] = {};
  std::ifstream(path, std::ios::binary).read(first, sizeof first);
  return std::string_view(first, sizeof first) == qcow2_magic;
}

std::string name_for_qemu(const std::string& path) {
  return path.starts_with('/') ? path : "./" + path;
}

const char* name(image_format format) noexcept {
  return format == image_format::raw ? "raw" : "qcow2";
}

std::uint64_t size_of_image(const backing_image& image) {
  if (image.format == image_format::raw && begins_like_qcow2(image.path))
    throw pd::device_error(fmt::format(
        "{}: begins like a qcow2 image; say which it is with --backing-format", image.path));
  const std::string text = run_program(
      {"qemu-img", "info", "--output=json", "-f", name(image.format), name_for_qemu(image.path)},
      package);
  const std::unique_ptr<json_t, void (*)(json_t*)> document(
      json_loadb(text.data(), text.size(), 0, nullptr), [](json_t* j) { json_decref(j); });
  const json_t* const size = document ? json_object_get(document.get(), "virtual-size") : nullptr;
  if (!json_is_integer(size) || json_integer_value(size) < 0)
    throw pd::device_error(fmt::format("{}: qemu-img does not tell its size", image.path));
  return static_cast<std::uint64_t>(json_integer_value(size));
}

void create_qcow2(const std::string& path, const qcow2_options& options) {
  const std::uint64_t block_bytes = std::uint64_t{options.block_size} * 512;
  const std::uint64_t largest_divisor = block_bytes & (~block_bytes + 1);
  const std::uint64_t cluster = std::clamp(largest_divisor, min_cluster, max_cluster);
  std::vector<std::string> arguments{
      "qemu-img", "create", "-q", "-f", "qcow2", "-o", fmt::format("cluster_size={}", cluster)};
  if (options.backing) {
    const std::string backing = name_in_chain(options.backing->path, path);
    arguments.insert(arguments.end(), {"-b", backing, "-F", name(options.backing->format)});
  }
  arguments.insert(arguments.end(), {name_for_qemu(path), fmt::to_string(options.bytes)});
  run_program(arguments, package);
}

void check_qcow2(const std::string& path) {
  run_program({"qemu-img", "check", "-q", "-f", "qcow2", name_for_qemu(path)}, package);
}

}  // namespace era
