// SPDX-License-Identifier: GPL-3.0-or-later
// The word after the flag, which some commands accept, is its value.
#include "era/commands/metadata_source.h"

namespace era {

option_list::option_id add_metadata_snapshot(option_list& options, source& from,
                                             std::string_view help) {
  constexpr std::string_view no_argument;  // of a flag
  return options.add_parsed(
      "--metadata-snapshot", from,
      [](std::string_view word) { return word == "false" ? source::live : source::snapshot; },
      no_argument, help);
}

pd::access access_to(source from) noexcept {
  return from == source::snapshot ? pd::access::shared : pd::access::reading;
}

}  // namespace era
