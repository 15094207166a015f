// SPDX-License-Identifier: GPL-3.0-or-later
// Opens the output when the builder asks for it. If the work throws, prints the error, then what
// the builder's abandon() says of the output.
#include "era/commands/building.h"

#include <memory>
#include <optional>

#include "persistent-data/io/output_device.h"

namespace era {
namespace {

std::string in_words(const std::string& output, output_state left) {
  switch (left) {
    case output_state::as_before: return "";
    case output_state::perhaps_wiped:
      return fmt::format(
          "{}: its superblock could not be wiped, and may be damaged now; nothing else of it was "
          "changed",
          output);
    case output_state::unformatted:
      return fmt::format(
          "{}: is wiped and holds no metadata: it looks unformatted until this has succeeded",
          output);
    case output_state::perhaps_complete:
      return fmt::format(
          "{}: cannot be written any more: it looks unformatted, or holds the whole new metadata; "
          "do not use it before this has succeeded",
          output);
  }
  return "";
}

}  // namespace

int build_metadata(const command_line& line, const std::string& output, progress& shown,
                   const pd::progress_function& on_progress,
                   const std::function<void(metadata_builder&)>& build) {
  std::optional<pd::output_device> device;
  metadata_builder builder(
      [&](std::uint64_t suggested_blocks) {
        device.emplace(output, suggested_blocks, line.engine());
        return output_target{device->path(), device->is_block_device(), device->nr_blocks(),
                             [&] { return device->make_queue(); },
                             [&] {
                               return std::make_unique<pd::block_device>(output, pd::access::shared,
                                                                         line.engine());
                             }};
      },
      on_progress);
  try {
    build(builder);
    return exit_success;
  } catch (const std::exception& e) {
    shown.clear();
    line.say(in_words(e, "write " + output));
    if (const std::string left = in_words(output, builder.abandon()); !left.empty()) line.say(left);
    return exit_failure;
  }
}

}  // namespace era
