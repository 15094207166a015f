// SPDX-License-Identifier: GPL-3.0-or-later
// Nothing that a terminal obeys gets through.
#include "era/text/printable.h"

#include <gtest/gtest.h>

namespace era {
namespace {

TEST(Printable, KeepsPrintableAscii) {
  std::string all;
  for (char c = 0x20; c < 0x7f; ++c) all += c;
  EXPECT_EQ(printable(all, 100), all);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, ReplacesEveryOtherByte) {
  for (int c = 0; c < 256; ++c) {
    if (c >= 0x20 && c < 0x7f) continue;
    EXPECT_EQ(printable(std::string{'a', static_cast<char>(c), 'b'}), "a?b") << c;
  }
}

TEST(Printable, CutsLongText) {
  std::string text(60, 'x');
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable(text + "y"), text + "...");
  EXPECT_EQ(printable("\x1b[31m", 2), "?[...");
}

}  // namespace
}  // namespace era
