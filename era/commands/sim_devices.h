// SPDX-License-Identifier: GPL-3.0-or-later
// The devices of a simulation: the metadata, the origin, and the geometry of the device that they
// make.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "era/dm_target/target.h"
#include "era/sim/created_file.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/output_device.h"

namespace era {

struct sim_device_options {
  // Paths of devices or files. If origin is empty, there is none.
  std::string metadata, origin = {};
  // Sectors of a new metadata file; nullopt: the metadata is there.
  std::optional<std::uint64_t> create = {};
  // Sectors of a block and of the simulated device; nullopt: see sim_devices::geometry.
  std::optional<std::uint32_t> block_size = {};
  std::optional<std::uint64_t> size = {};
};

// The file whose lines are run.
struct sim_input {
  std::string path;  // empty or "-": standard input
  bool is_trace = false;
};

// Returns the sectors of a new metadata file, for `sim_device_options::create`. text: as
// `sim::parse_sectors` takes it. Throws invalid_input if it is no size, less than a metadata block,
// or more than metadata can use.
std::uint64_t parse_metadata_size(std::string_view text);

// Owns the devices, and keeps others away from them until it ends. For one thread.
class sim_devices {
 public:
  // Creates the metadata file if it is to be created, opens all devices, and finds the geometry.
  // Reads one metadata block, and writes to no device.
  //
  // Throws device_error if
  // - a device cannot be opened, is in use or is too small, or the file to create is there already;
  // - the superblock is damaged;
  // - the origin overlaps the metadata or the input;
  // - neither the options nor the devices say how large the simulated device is;
  // - the metadata has no room for its origin blocks.
  sim_devices(const sim_device_options&, const sim_input&, pd::engine_choice);
  // Removes a metadata file that was created, unless it is kept.
  ~sim_devices() = default;
  sim_devices(const sim_devices&) = delete;
  sim_devices& operator=(const sim_devices&) = delete;

  // Valid as long as this.
  pd::block_store& metadata() noexcept { return *store_; }
  origin_device& origin() noexcept { return *origin_; }

  // Returns nullopt if there is no origin.
  std::optional<std::uint64_t> origin_sectors() const noexcept { return origin_sectors_; }
  // The block size is the one of the options, else that of the superblock, else 128 sectors. The
  // length is the one of the options, else that of the origin, else that of the superblock. The
  // target judges both.
  const target::geometry& geometry() const noexcept { return geometry_; }

  // From now on a metadata file that was created stays.
  void keep_metadata() noexcept;
  // Returns true if the metadata stays: it was there before, or is kept.
  bool keeps_metadata() const noexcept { return !created_ || created_->is_kept(); }

 private:
  std::unique_ptr<sim::created_file> created_;  // null: the metadata was there before
  pd::output_device device_;
  std::unique_ptr<pd::block_store> store_;
  std::unique_ptr<origin_device> origin_;
  std::optional<std::uint64_t> origin_sectors_;
  target::geometry geometry_{};
};

}  // namespace era
