// SPDX-License-Identifier: GPL-3.0-or-later
// CRC32C by ISA-L, or by tables of our own if ISA-L is missing.
#include "persistent-data/format/checksum.h"

#include <algorithm>
#include <array>
#include <limits>

#include "config.h"

#ifdef HAVE_ISAL
#include <isa-l/crc.h>
#endif

namespace persistent_data {
namespace {

// Slicing by eight: table[k] advances a byte's contribution past k further bytes.
constexpr auto make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
    tables[0][i] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t i = 0; i < 256; ++i)
      tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xff];
  return tables;
}
constexpr auto tables = make_tables();

std::uint32_t byte_at(std::span<const std::byte> bytes, std::size_t i) {
  return std::to_integer<std::uint32_t>(bytes[i]);
}

}  // namespace

std::uint32_t detail::crc32c_portable(std::span<const std::byte> bytes) noexcept {
  std::uint32_t crc = 0xffffffff;
  while (bytes.size() >= 8) {
    const std::uint32_t low = crc ^ (byte_at(bytes, 0) | byte_at(bytes, 1) << 8 |
                                     byte_at(bytes, 2) << 16 | byte_at(bytes, 3) << 24);
    crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
          tables[4][low >> 24] ^ tables[3][byte_at(bytes, 4)] ^ tables[2][byte_at(bytes, 5)] ^
          tables[1][byte_at(bytes, 6)] ^ tables[0][byte_at(bytes, 7)];
    bytes = bytes.subspan(8);
  }
  for (const std::byte b : bytes)
    crc = crc >> 8 ^ tables[0][(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  return crc;
}

#ifdef HAVE_ISAL
std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept {
  // ISA-L takes a length of int and a pointer that it does not write through.
  constexpr std::size_t piece = std::numeric_limits<int>::max();
  std::uint32_t crc = 0xffffffff;
  while (!bytes.empty()) {
    const auto now = bytes.first(std::min(piece, bytes.size()));
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(now.data()));
    crc = crc32_iscsi(data, static_cast<int>(now.size()), crc);
    bytes = bytes.subspan(now.size());
  }
  return crc;
}
#else
std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept {
  return detail::crc32c_portable(bytes);
}
#endif

}  // namespace persistent_data
