// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes come back from where they were put, and what is not there is an error.
#include "persistent-data/io/temp_file.h"

#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <string_view>

namespace era {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(TempFile, GivesBackWhatWasPutIntoIt) {
  temp_file s;
  EXPECT_EQ(s.append(bytes("hello")), 0u);
  EXPECT_EQ(s.append(bytes("world")), 5u);
  std::array<char, 5> text;
  s.read(5, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(std::string_view(text.data(), text.size()), "world");
  s.read(0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(std::string_view(text.data(), text.size()), "hello");
}

TEST(TempFile, HasNoMoreThanWasPutIntoIt) {
  temp_file s;
  s.append(bytes("hell"));
  std::array<char, 5> text;
  EXPECT_THROW(s.read(0, std::as_writable_bytes(std::span(text))), std::runtime_error);
}

}  // namespace
}  // namespace era
