// SPDX-License-Identifier: GPL-3.0-or-later
// A live era device: what it consists of, the moment at which its data is stable, and its metadata
// snapshot.
//
// A backup calls, in this order (era(7) says why):
//   clean_up()                if an earlier run was killed between the next two lines and the last
//   snapshot_data()           suspend, the user's command, resume
//   take_metadata_snapshot()
//   ...                       read the metadata snapshot; copy from the data's snapshot
//   drop_metadata_snapshot()
//
// Tables are never loaded.
#pragma once

#include <cstdint>
#include <string>

#include "era/backup/device_mapper.h"
#include "era/backup/snapshot_command.h"
#include "era/format/units.h"
#include "persistent-data/format/errors.h"

namespace era {

// The work of clean_up().
struct era_device_leftovers {
  bool was_suspended = false, had_metadata_snapshot = false;
};

struct data_snapshot {
  // Each write that the snapshot does not have is recorded with this era or a later one.
  era_nr next_era{};
  std::string output;  // the command's, both streams; up to 64 KiB from its end
};

// The device could not be resumed: writes to it wait.
class still_suspended : public pd::device_error {
 public:
  using device_error::device_error;
};

// For one thread. Every function throws device_error: the message names the device, the step and,
// if there is one, the command with which the user gets on.
class era_device {
 public:
  // Reads the table; the device may be suspended. `name` is as in dmsetup; the device mapper must
  // live as long as this.
  explicit era_device(std::string name, device_mapper& = device_mapper::real());

  // The table: paths of the nodes, and sizes in sectors.
  const std::string& metadata() const noexcept { return metadata_; }
  const std::string& origin() const noexcept { return origin_; }
  std::uint32_t block_size() const noexcept { return block_size_; }
  std::uint64_t size() const noexcept { return size_; }

  // Resumes the device if it is suspended, and drops a metadata snapshot. Requires that an earlier
  // run of the caller was killed at work, and that no other run is at work: else both could be
  // somebody else's. Throws if the device is suspended and a table is loaded: somebody is changing
  // it.
  era_device_leftovers clean_up();
  // Resumes the device if it is suspended, and returns whether it was. Requires and throws the
  // same.
  bool end_suspension();

  // Suspends the device, runs the command, and resumes the device; the command has the variables
  // ERA_DEVICE, the name, and ERA_NEXT, the next era, in its environment. Throws, with nothing
  // done, if the device is suspended, has a loaded table, or has a metadata snapshot, which would
  // be in the way later.
  //
  // The device is resumed in every case: if the command fails, takes too long or is killed, if
  // wait_for throws (the same is thrown then), and, by a second process, if this process is killed
  // or hangs. If it cannot be resumed, that is still_suspended, whose message names `dmsetup
  // resume`.
  //
  // Requires a process with one thread and little memory, all of which is locked while the device
  // is suspended, if the process may do so. Nothing is written to standard error meanwhile.
  data_snapshot snapshot_data(const snapshot_command_options&, const wait_function& wait_for);

  // There is one at most. Throws if somebody has one already.
  void take_metadata_snapshot();
  void drop_metadata_snapshot();

 private:
  struct status {
    era_nr current_era;
    bool has_metadata_snapshot;
  };

  // Waits while the device is suspended.
  status read_status();
  mapped_device_info existing();
  void refuse_metadata_snapshot(const status&) const;
  void resume(const std::string& before);

  std::string name_;
  device_mapper& dm_;
  std::string metadata_, origin_;
  std::uint32_t block_size_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace era
