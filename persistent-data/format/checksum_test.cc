// SPDX-License-Identifier: GPL-3.0-or-later
// The checksum against published values and against itself in its two versions.
#include "persistent-data/format/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace persistent_data {
namespace {

std::uint32_t crc_of(std::string_view text) { return crc32c(std::as_bytes(std::span(text))); }

// RFC 3720 (iSCSI), B.4, gives these with the final inversion that device-mapper leaves out.
TEST(Checksum, AgreesWithThePublishedValues) {
  EXPECT_EQ(~crc_of(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(~crc_of(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(~crc_of("123456789"), 0xe3069283u);
}

TEST(Checksum, OfNothingIsTheStartValue) { EXPECT_EQ(crc_of(""), 0xffffffffu); }

TEST(Checksum, BothVersionsAgreeAtEveryLengthAndAlignment) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(4096);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  for (std::size_t skip = 0; skip < 8; ++skip)
    for (std::size_t length = 0; length < 70; ++length) {
      const auto part = std::span(bytes).subspan(skip, length);
      ASSERT_EQ(crc32c(part), detail::crc32c_portable(part)) << skip << " " << length;
    }
  EXPECT_EQ(crc32c(bytes), detail::crc32c_portable(bytes));
}

}  // namespace
}  // namespace persistent_data
