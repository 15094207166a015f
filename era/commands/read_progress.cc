// SPDX-License-Identifier: GPL-3.0-or-later
// The device tells of each read, in the thread that made it; the line is printed there.
#include "era/commands/read_progress.h"

#include <unistd.h>

#include "era/format/superblock.h"
#include "persistent-data/io/read_queue.h"

namespace era {
namespace {

// The bytes of all metadata blocks in use, by the superblock. Returns nullopt if it does not tell.
std::optional<std::uint64_t> bytes_in_use(const pd::block_device& device) {
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  std::optional<std::uint64_t> bytes;
  queue.read(std::span(&superblock_location, 1), [&](std::size_t, const pd::block* data, int) {
    if (!data || validate_superblock(*data, superblock_location)) return;
    const std::uint64_t blocks = data->as<superblock>().space_map.nr_allocated;
    if (blocks <= device.nr_blocks()) bytes = blocks * pd::block_size;
  });
  return bytes;
}

}  // namespace

read_progress::read_progress(command_line& line, pd::block_device& device,
                             const read_progress_options& options)
    : line_(line), device_(device) {
  const auto terminal = progress_on_terminal();
  if (options.is_quiet || !terminal || (options.prints && ::isatty(STDOUT_FILENO) == 1)) return;
  shown_.emplace(line.name(), options.known_total ? bytes_in_use(device) : std::nullopt, terminal);
  line_.show(&*shown_);
  device_.watch([this](std::uint64_t bytes) { shown_->update(done_ += bytes); });
}

void read_progress::finish() {
  if (!shown_) return;
  device_.watch({});
  line_.show(nullptr);
  shown_.reset();
}

}  // namespace era
