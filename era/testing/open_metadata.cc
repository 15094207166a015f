// SPDX-License-Identifier: GPL-3.0-or-later
// The steps of check_metadata that lead to the maps.
#include "era/testing/open_metadata.h"

#include "era/format/superblock.h"

namespace era::test {

std::optional<metadata> open_metadata(pd::read_queue& queue, const pd::block_device& device,
                                      source from, const finding_sink& sink) {
  const bool live = from == source::live;
  auto sb =
      read_superblock(queue, device.nr_blocks(), superblock_location,
                      live ? superblock_reading::once : superblock_reading::until_whole, sink);
  pd::block_nr location = superblock_location;
  if (sb && !live) {
    require_snapshot(device, *sb);
    location = {sb->metadata_snap};
    sb = read_snapshot_superblock(queue, device.nr_blocks(), *sb, sink);
  }
  if (!sb) return {};
  pd::reference_counter counter(device.nr_blocks(), pd::reference_counter::counting::no);
  pd::btree_walk walk(queue, counter);
  return map_metadata(walk, from, location, *sb, sink);
}

}  // namespace era::test
