// SPDX-License-Identifier: GPL-3.0-or-later
// Opening a device to write metadata to it.
#include "persistent-data/io/output_device.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/divide_up.h"
#include "persistent-data/io/file_store.h"
#include "persistent-data/io/flush_file.h"

namespace persistent_data {

namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;

// As sh takes it back: a path with anything unusual in it is quoted.
std::string shell_word(const std::string& path) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("/._-+,:=@%", c) != nullptr;
  };
  if (std::all_of(path.begin(), path.end(), plain) && !path.starts_with('-')) return path;
  std::string word = path.starts_with('-') ? "./'" : "'";
  for (const char c : path) c == '\'' ? word += "'\\''" : word += c;
  return word + '\'';
}

}  // namespace

std::string how_to_enlarge(const std::string& path, bool is_block_device, std::uint64_t nr_blocks) {
  const std::uint64_t bytes = nr_blocks * block_size;
  const std::uint64_t mebibytes = divide_up(bytes, mebibyte);
  if (is_block_device) return fmt::format("take a device of {} MiB", mebibytes);
  return fmt::format("make it so large first: truncate -s {}M {}", mebibytes, shell_word(path));
}

output_device::output_device(const std::string& path, std::uint64_t wanted_blocks,
                             engine_choice engine, system_calls& calls)
    : opened_(path, access::writing, cache_for(engine),
              {.if_missing = how_to_enlarge(path, false, wanted_blocks)}),
      engine_(resolve(engine, opened_.is_block_device())),
      calls_(calls),
      nr_blocks_(opened_.bytes() / block_size) {
  if (nr_blocks_ == 0)
    opened_.fail(fmt::format("is too small: it has {} bytes; {}", opened_.bytes(),
                             how_to_enlarge(path, is_block_device(), wanted_blocks)));
}

std::unique_ptr<block_store> output_device::make_store() const {
  return make_file_store(opened_.descriptor(), path(), nr_blocks_, calls_);
}

std::unique_ptr<write_queue> output_device::make_queue() const {
  std::unique_ptr<io_engine> engine = make_engine(engine_, opened_.descriptor(), calls_);
  const auto flush = [fd = opened_.descriptor(), &calls = calls_] {
    return flush_device(fd, calls);
  };
  return std::make_unique<write_queue>(std::move(engine), flush, path());
}

}  // namespace persistent_data
