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
  xml,       // as thin-provisioning-tools: a <block> for a single one, a <range> for more
  text,      // a line "begin end" for each run
  json,      // an object; each run but the first is preceded by a comma
  ddrescue,  // a mapfile of GNU ddrescue, in which the runs are finished and all else is untried
  messages   // messages to the device-mapper target cache, each a line of up to max_message bytes
};

class list_writer {
 public:
  // The kernel takes messages of 4,000 characters and more; users' shells and scripts do, too.
  static constexpr std::size_t max_message = 3999;

  // scale: what a block counts as. No number passes limit: the last block may reach past the end of
  // the device. A mapfile, whose unit is the byte, ends there. Requires that no number times scale
  // overflows.
  list_writer(list_format format, std::uint64_t scale,
              std::uint64_t limit = std::numeric_limits<std::uint64_t>::max())
      : format_(format), scale_(scale), limit_(limit) {}

  // json_fields: the other members of the JSON object; ignored in other formats.
  void begin(text_buffer&, std::string_view json_fields) const;
  // Any number of threads may call it at the same time. If the format is a mapfile or messages, the
  // calls must come one after the other, in the order of the runs.
  void lines(text_buffer&, std::span<const origin_range> blocks);
  void end(text_buffer&);

 private:
  // Adds a mapfile line: the bytes up to end have this state.
  void map_until(text_buffer&, std::uint64_t end, char state);
  // Adds a run to the message, or begins another one that it fits into.
  void add_to_message(text_buffer&, origin_range);

  list_format format_;
  std::uint64_t scale_, limit_;
  std::uint64_t mapped_ = 0;      // of a mapfile: the end of its last line
  std::size_t message_size_ = 0;  // of messages: without its newline; 0 if none is begun
};

}  // namespace era
