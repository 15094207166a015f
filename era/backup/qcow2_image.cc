// SPDX-License-Identifier: GPL-3.0-or-later
// All that is done to an image as a whole is done by qemu-img.
#include "era/backup/qcow2_image.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "era/backup/json_ptr.h"
#include "era/backup/lasting_path.h"
#include "era/backup/run_program.h"
#include "era/format/units.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/opened_storage.h"

namespace era {
namespace {

namespace fs = std::filesystem;
namespace pd = persistent_data;

constexpr std::uint64_t max_cluster = 64 << 10, min_cluster = 512;
constexpr std::string_view qcow2_magic = "QFI\xfb";

// As the image at path has to name it.
std::string name_in_chain(const fs::path& backing, const fs::path& image) {
  if (is_block_device(backing)) return lasting_path(backing);
  std::error_code ignored;
  const fs::path there = fs::canonical(backing, ignored);
  const fs::path here = fs::canonical(fs::absolute(image).parent_path(), ignored);
  return there.parent_path() == here ? "./" + there.filename().string() : there.string();
}

// The magic number, and what follows it up to the place of the table that leads to all others.
// Shorter if there is no more, and empty if it cannot be read.
std::string beginning_of(const std::string& path) {
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type != fs::file_type::regular && type != fs::file_type::block) return "";
  std::string first(48, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(first.data(), static_cast<std::streamsize>(first.size()));
  first.resize(static_cast<std::size_t>(file.gcount()));
  return first;
}

// An address of qemu's may be longer than any name of a file.
bool is_path(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void require_storage(const std::string& path) {
  const pd::opened_storage readable(path, pd::access::shared, pd::page_cache::for_all);
}

// Asks qemu-img about one image, without the images below it. An empty format is guessed, as qemu
// does if an image does not say which format the one below it has.
json_ptr describe(const std::string& path, const std::string& format) {
  std::vector<std::string> arguments{"info", "--output=json"};
  if (!format.empty()) arguments.insert(arguments.end(), {"-f", format});
  // A far image has an address.
  arguments.push_back(is_path(path) ? name_for_qemu(path) : path);
  const std::string text = run_qemu_img(std::move(arguments));
  return json_ptr(json_loadb(text.data(), text.size(), 0, nullptr));
}

std::uint64_t size_in(const json_t* document, const std::string& path) {
  const json_t* const size = document ? json_object_get(document, "virtual-size") : nullptr;
  if (!json_is_integer(size) || json_integer_value(size) < 0)
    throw pd::device_error(fmt::format("{}: qemu-img does not tell its size", path));
  return static_cast<std::uint64_t>(json_integer_value(size));
}

std::string text_of(const json_t* object, const char* key) {
  const char* const text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

}  // namespace

std::string run_qemu_img(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "qemu-img");
  return run_program(arguments, "qemu-utils");
}

std::uint64_t largest_power_in_block(std::uint32_t block_size) noexcept {
  return std::uint64_t{1} << std::countr_zero(bytes_of_block(block_size));
}

std::uint64_t qcow2_cluster_bytes(std::uint64_t bytes, std::uint32_t block_size) {
  std::uint64_t cluster = std::clamp(largest_power_in_block(block_size), min_cluster, max_cluster);
  // qemu opens no image whose first table takes more than 32 MiB. An entry of 8 bytes leads to a
  // cluster of such entries, and each of those to a cluster.
  const auto most_bytes = [](std::uint64_t c) { return ((32 << 20) / 8) * (c / 8) * c; };
  while (cluster < max_cluster && most_bytes(cluster) < bytes) cluster *= 2;
  return cluster;
}

bool begins_like_qcow2(const std::string& path) {
  return beginning_of(path).starts_with(qcow2_magic);
}

bool begin_like_one_qcow2(const std::string& a, const std::string& b) {
  return begins_like_qcow2(a) && beginning_of(a) == beginning_of(b);
}

std::string name_for_qemu(const std::string& path) {
  return path.starts_with('/') ? path : "./" + path;
}

const char* name(image_format format) noexcept {
  return format == image_format::raw ? "raw" : "qcow2";
}

image_summary summary_of_image(const backing_image& image) {
  image_summary found;
  std::string path = image.path, format = name(image.format);
  while (!path.empty() && std::count(found.files.begin(), found.files.end(), path) == 0) {
    // qemu-img would wait for the other end of a pipe. An image that is no path here is far away.
    if (found.files.empty() || is_path(path)) require_storage(path);
    const json_ptr document = describe(path, format);
    if (found.files.empty()) found.bytes = size_in(document.get(), path);
    found.files.push_back(path);
    ++found.nr_files;
    // An address may lead to a file here.
    if (const std::string file = text_of(document.get(), "filename"); !file.empty() && file != path)
      found.files.push_back(file);
    const json_t* const details =
        json_object_get(json_object_get(document.get(), "format-specific"), "data");
    if (const std::string data = text_of(details, "data-file"); !data.empty()) {
      found.files.push_back(fs::path(path).parent_path() / data);
      ++found.nr_files;
    }
    path = text_of(document.get(), "full-backing-filename");
    format = text_of(document.get(), "backing-filename-format");
  }
  return found;
}

void create_qcow2(const std::string& path, const qcow2_options& options) {
  const std::uint64_t cluster = qcow2_cluster_bytes(options.bytes, options.block_size);
  std::vector<std::string> arguments{"create", "-q", "-f",
                                     "qcow2",  "-o", fmt::format("cluster_size={}", cluster)};
  if (options.backing) {
    const std::string backing = name_in_chain(options.backing->path, path);
    arguments.insert(arguments.end(), {"-b", backing, "-F", name(options.backing->format)});
  }
  arguments.insert(arguments.end(), {name_for_qemu(path), fmt::to_string(options.bytes)});
  run_qemu_img(std::move(arguments));
}

void check_qcow2(const std::string& path) {
  run_qemu_img({"check", "-q", "-f", "qcow2", name_for_qemu(path)});
}

}  // namespace era
