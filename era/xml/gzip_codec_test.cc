// SPDX-License-Identifier: GPL-3.0-or-later
// Gzip alone: a header that says more than the tools write.
#include "config.h"

#ifdef HAVE_ZLIB

#include <gtest/gtest.h>

#include "era/testing/packed_text.h"

namespace era::xml {
namespace {

using test::packed;
using test::unpack_error;
using test::unpacked;

// The same member with a file's name in its header, as gzip(1) writes it.
std::string with_name(std::string member, const std::string& file) {
  member[3] = 8;  // FNAME
  return member.insert(10, file + '\0');
}

TEST(GzipCompression, PassesOverTheNameInTheHeader) {
  const std::string named = with_name(packed(compression::gzip, "abc"), "era.xml");
  EXPECT_EQ(unpacked(compression::gzip, named), "abc");
  EXPECT_EQ(unpacked(compression::gzip, named + named), "abcabc");
}

TEST(GzipCompression, TheLengthAtTheEndHasToBeRight) {
  std::string member = packed(compression::gzip, "abc");
  member[member.size() - 4] ^= 1;
  EXPECT_EQ(unpack_error(compression::gzip, member),
            "t: is no whole gzip file: it is truncated or damaged");
}

}  // namespace
}  // namespace era::xml

#endif
