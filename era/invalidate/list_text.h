// SPDX-License-Identifier: GPL-3.0-or-later
// How a list of blocks is written: begin, any number of lines, end.
#pragma once

#include <cstdint>
#include <span>

#include "era/xml/text_buffer.h"
#include "persistent-data/format/strong.h"

namespace era {

enum class list_format {
  xml,   // as thin-provisioning-tools: a <block> where it is one, a <range> with an end one past it
  text,  // begin and end
  json   // a comma comes before each line; the first one is to be left out
};

class list_text {
 public:
  // scale: what a block counts as. All numbers are multiplied by it, and must not overflow.
  list_text(list_format format, std::uint64_t scale) : format_(format), scale_(scale) {}

  void begin(text_buffer&) const;
  void lines(text_buffer&, std::span<const persistent_data::range> blocks) const;
  void end(text_buffer&) const;

 private:
  list_format format_;
  std::uint64_t scale_;
};

}  // namespace era
