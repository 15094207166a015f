// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, looking at the first bytes, and reading.
#include "era/xml/source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/le.h"

namespace era::xml {
namespace {

// As much as tells binary metadata: its magic number is in bytes 32 to 39.
constexpr std::size_t bytes_to_look_at = 40;

bool is_metadata(std::string_view begin) {
  if (begin.size() < bytes_to_look_at) return false;
  pd::le64 magic;
  std::memcpy(&magic, begin.data() + offsetof(superblock, magic), sizeof magic);
  return magic == superblock_magic;
}

}  // namespace

input_file::input_file(const std::string& path, pd::input_stream::before_read before,
                       std::string_view instead_of_metadata)
    : input_(path, std::move(before)) {
  look_at_begin(instead_of_metadata);
}

void input_file::look_at_begin(std::string_view instead_of_metadata) {
  begin_.resize(bytes_to_look_at);
  std::size_t have = 0;
  while (have < begin_.size()) {
    const std::size_t got = read_input(begin_.data() + have, begin_.size() - have);
    if (got == 0) break;
    have += got;
  }
  begin_.resize(have);
  if (is_metadata(begin_))
    input_.fail(fmt::format("is binary metadata of dm-era, not XML; {}", instead_of_metadata));
  content_ = [this](char* buffer, std::size_t size) { return read_raw(buffer, size); };
  if (const compression kind = compression_by_content(begin_); kind != compression::none)
    content_ = decompressed(kind, std::move(content_), name());
}

std::size_t input_file::read_raw(char* buffer, std::size_t size) {
  if (begin_.empty()) return read_input(buffer, size);
  const std::size_t now = std::min(size, begin_.size());
  std::memcpy(buffer, begin_.data(), now);
  begin_.erase(0, now);
  return now;
}

std::size_t input_file::read_input(char* buffer, std::size_t size) {
  const ssize_t got = input_.read(buffer, size);
  if (got < 0) input_.fail(std::strerror(errno));
  read_ += static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got);
}

}  // namespace era::xml
