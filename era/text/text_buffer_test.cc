// SPDX-License-Identifier: GPL-3.0-or-later
// The text buffer's room, and numbers that count up as text.
#include "era/text/text_buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace era {
namespace {

TEST(TextBuffer, KeepsItsTextWhileItGrows) {
  text_buffer text;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
    text.append(piece);
    expected += piece;
  }
  EXPECT_EQ(text.view(), expected);
  text.clear();
  EXPECT_EQ(text.size(), 0u);
}

TEST(TextBuffer, RoomThatIsNotUsedIsNotText) {
  text_buffer text;
  text.append("ab");
  char* to = text.room(100);
  *to++ = 'c';
  text.written_to(to);
  EXPECT_EQ(text.view(), "abc");
}

}  // namespace
}  // namespace era
