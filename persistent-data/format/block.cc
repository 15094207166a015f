// SPDX-License-Identifier: GPL-3.0-or-later
// Validates blocks, and prepares them for writing.
#include "persistent-data/format/block.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <span>

#include "persistent-data/format/checksum.h"

namespace persistent_data {
namespace {

std::uint32_t unsalted_checksum(const block& b) noexcept {
  return crc32c(std::span(b.bytes).subspan(sizeof(le32)));
}

std::uint64_t stored_number(const block_kind& kind, const block& b) noexcept {
  le64 number;
  std::memcpy(&number, b.bytes.data() + kind.blocknr_offset, sizeof number);
  return number;
}

error_detail is_of_another_place(const block_kind& kind, std::uint64_t number) {
  return {error_class::wrong_place,
          fmt::format("the block holds {} that was written for block {}", kind.name, number)};
}

// A checksum that fails for one kind may hold for another: its salt tells which.
error_detail explain_bad_checksum(const block& b, std::uint32_t salt, block_nr where) {
  if (is_zero(b)) return {error_class::bad_checksum, "the block holds only zeros"};
  for (const block_kind& kind : block_kinds) {
    if (kind.salt != salt) continue;
    const std::uint64_t number = stored_number(kind, b);
    if (number != where.value) return is_of_another_place(kind, number);
    return {error_class::wrong_kind,
            fmt::format("the block holds {} (written for block {})", kind.name, number)};
  }
  return {error_class::bad_checksum, "the checksum does not match the content"};
}

}  // namespace

std::optional<error_detail> validate(const block_kind& kind, const block& b, block_nr where) {
  const std::uint32_t salt = unsalted_checksum(b) ^ b.as<le32>();
  if (salt != kind.salt) return explain_bad_checksum(b, salt, where);
  const std::uint64_t number = stored_number(kind, b);
  if (number != where.value) return is_of_another_place(kind, number);
  return {};
}

const block_kind* identify(const block& b, block_nr where) noexcept {
  const std::uint32_t salt = unsalted_checksum(b) ^ b.as<le32>();
  for (const block_kind& kind : block_kinds)
    if (kind.salt == salt) return stored_number(kind, b) == where.value ? &kind : nullptr;
  return nullptr;
}

void prepare_for_write(const block_kind& kind, block& b, block_nr where) noexcept {
  assert(kind.blocknr_offset + sizeof(le64) <= block_size);
  const le64 number = where.value;
  std::memcpy(b.bytes.data() + kind.blocknr_offset, &number, sizeof number);
  b.as<le32>() = unsalted_checksum(b) ^ kind.salt;
}

bool is_zero(const block& b) noexcept { return is_zero(std::span(b.bytes)); }

bool is_zero(std::span<const std::byte> bytes) noexcept {
  // All bytes are equal if each equals the one before it.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace persistent_data
