// SPDX-License-Identifier: GPL-3.0-or-later
// How a list of blocks is written: begin, any number of lines, end.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "era/format/units.h"
#include "era/text/text_buffer.h"

namespace era {

enum class list_format {
  xml,   // as thin-provisioning-tools: a <block> for a single one, a <range> for more
  text,  // a line "begin end" for each run
  json   // an object; each run but the first is preceded by a comma
};

class list_writer {
 public:
  // scale: what a block counts as. No number passes limit: the last block may reach past the end of
  // the device. Requires that no number times scale overflows.
  list_writer(list_format format, std::uint64_t scale,
              std::uint64_t limit = std::numeric_limits<std::uint64_t>::max())
      : format_(format), scale_(scale), limit_(limit) {}

  // json_fields: the other members of the JSON object; ignored in other formats.
  void begin(text_buffer&, std::string_view json_fields) const;
  void lines(text_buffer&, std::span<const origin_range> blocks) const;
  void end(text_buffer&) const;

 private:
  list_format format_;
  std::uint64_t scale_, limit_;
};

}  // namespace era
