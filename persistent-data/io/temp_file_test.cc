// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes come back from where they were put, and what is not there is an error.
#include "persistent-data/io/temp_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/file_size_limit.h"

namespace persistent_data {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
  EXPECT_THROW(s.read(0, std::as_writable_bytes(std::span(text))), device_error);
}

TEST(TempFile, SaysWhereThereIsNoRoom) {
  temp_file s;
  std::string error;
  try {
    const persistent_data::test::file_size_limit limit(4);
    s.append(bytes("hello"));
  } catch (const device_error& e) {
    error = e.what();
  }
  EXPECT_THAT(error, StartsWith("cannot write a temporary file in "));
  EXPECT_THAT(error, HasSubstr(std::strerror(EFBIG)));
  EXPECT_THAT(error, EndsWith("name another directory in TMPDIR"));
}

}  // namespace
}  // namespace persistent_data
