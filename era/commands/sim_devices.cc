// SPDX-License-Identifier: GPL-3.0-or-later
// Opens the devices in an order that decides which error a user sees first:
// 1. The metadata file is created if it is to be created, and the metadata is opened.
// 2. The superblock is validated, unless it is all zeros.
// 3. The origin is compared with the metadata and the input, and only then opened for writing.
// 4. The geometry is found, and the metadata must have room for it.
#include "era/commands/sim_devices.h"

#include <utility>

#include <fmt/format.h>

#include "era/format/superblock.h"
#include "era/metadata/metadata_builder.h"
#include "era/sim/origin.h"
#include "era/sim/script.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/storage.h"

namespace era {
namespace {

constexpr std::uint64_t usual_metadata_blocks = 1024;  // for a message
constexpr std::uint32_t usual_block_size = 128;        // sectors

std::unique_ptr<sim::created_file> create_metadata(const sim_device_options& chosen) {
  if (!chosen.create) return nullptr;
  return std::make_unique<sim::created_file>(chosen.metadata, *chosen.create * pd::sector_size);
}

// Returns nullopt if the metadata is not formatted.
std::optional<superblock> read_superblock(pd::block_store& metadata) {
  pd::block first;
  metadata.read(superblock_location, first);
  if (pd::is_zero(first)) return {};
  if (const auto wrong = validate_superblock(first, superblock_location))
    throw pd::device_error(
        fmt::format("{}: superblock (block 0): {}", metadata.name(), wrong->text));
  return first.as<superblock>();
}

void require_own_origin(const sim_device_options& chosen, const sim_input& input) {
  const std::string& path = chosen.origin;
  if (pd::block_device(chosen.metadata, pd::access::shared).overlaps(path))
    throw pd::device_error(fmt::format("{}: is the metadata, and cannot be the origin, too", path));
  const bool is_standard = input.path.empty() || input.path == "-";
  if (pd::storage::at(is_standard ? "/dev/stdin" : input.path).overlaps(pd::storage::at(path)))
    throw pd::device_error(fmt::format("{}: is the {}, and cannot be the origin, too", path,
                                       input.is_trace ? "trace" : "script"));
}

// Returns an origin of at least a sector.
std::unique_ptr<sim::file_origin> open_origin(const std::string& path) {
  auto origin = std::make_unique<sim::file_origin>(path);
  if (origin->sectors() == 0)
    throw pd::device_error(fmt::format("{}: the origin is smaller than a sector", path));
  return origin;
}

// sb: nullopt if the metadata is not formatted.
target::geometry find_geometry(const sim_device_options& chosen,
                               const std::optional<superblock>& sb,
                               const std::optional<std::uint64_t>& origin_sectors) {
  target::geometry g{sb ? std::uint32_t{sb->data_block_size} : usual_block_size, 0};
  if (chosen.block_size) g.block_size = *chosen.block_size;
  if (chosen.size)
    g.length = *chosen.size;
  else if (origin_sectors)
    g.length = *origin_sectors;
  else if (sb && sb->nr_blocks != 0)
    g.length = std::uint64_t{sb->nr_blocks} * g.block_size;
  else
    throw pd::device_error(fmt::format(
        "{}: is not formatted; give the size of the device with --size", chosen.metadata));
  return g;
}

// The target refuses a block size of 0, and more origin blocks than there can be.
void require_room(const target::geometry& g, const pd::output_device& metadata, bool is_created) {
  if (g.block_size == 0) return;
  const std::uint64_t blocks = blocks_for(g.length, g.block_size);
  if (blocks > max_origin_blocks) return;
  const auto nr_blocks = static_cast<std::uint32_t>(blocks);
  if (blocks_needed(nr_blocks, metadata.nr_blocks()) <= metadata.nr_blocks()) return;
  const std::uint64_t suggested = blocks_suggested(nr_blocks);
  throw pd::device_error(fmt::format(
      "{}: is too small for {} origin blocks: it has {} metadata blocks; {}", metadata.path(),
      nr_blocks, metadata.nr_blocks(),
      is_created ? fmt::format("use --create-metadata {}M", suggested * pd::block_size >> 20)
                 : pd::how_to_enlarge(metadata.path(), metadata.is_block_device(), suggested)));
}

}  // namespace

std::uint64_t parse_metadata_size(std::string_view text) {
  const std::uint64_t sectors = sim::parse_sectors(text);
  constexpr std::uint64_t most = pd::max_metadata_blocks * sectors_per_metadata_block;
  if (sectors > most)
    throw pd::invalid_input(
        fmt::format("metadata of {} sectors cannot be made; {} are used at most", sectors, most));
  if (sectors < sectors_per_metadata_block)
    throw pd::invalid_input(
        fmt::format("metadata has at least {} sectors (4K)", sectors_per_metadata_block));
  return sectors;
}

sim_devices::sim_devices(const sim_device_options& chosen, const sim_input& input,
                         pd::engine_choice engine)
    : created_(create_metadata(chosen)),
      device_(chosen.metadata, usual_metadata_blocks, engine),
      store_(device_.make_store()) {
  const auto sb = read_superblock(*store_);
  if (chosen.origin.empty()) {
    origin_ = std::make_unique<sim::no_origin>();
  } else {
    require_own_origin(chosen, input);
    auto origin = open_origin(chosen.origin);
    origin_sectors_ = origin->sectors();
    origin_ = std::move(origin);
  }
  geometry_ = find_geometry(chosen, sb, origin_sectors_);
  require_room(geometry_, device_, chosen.create.has_value());
}

void sim_devices::keep_metadata() noexcept {
  if (created_) created_->keep();
}

}  // namespace era
