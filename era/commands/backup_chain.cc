// SPDX-License-Identifier: GPL-3.0-or-later
// The chain holds if target, size, eras and witnesses are those that the state knows.
#include "era/commands/backup_chain.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "era/backup/growth_mark.h"
#include "era/backup/lasting_path.h"
#include "era/commands/backup_places.h"
#include "era/commands/state_file.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

// Two addresses may lead to one export.
bool may_be_one_target(const std::string& a, const std::string& b) {
  if (is_nbd_uri(a) || is_nbd_uri(b)) return is_nbd_uri(a) && is_nbd_uri(b);
  try {
    return is_same_place(a, b);
  } catch (const pd::device_error&) {
    return a == b;  // one of them is not there
  }
}

}  // namespace

backup_chain::backup_chain(const backup_options& chosen)
    : chosen_(chosen),
      earlier_(chosen.state.empty() || chosen.full ? std::nullopt : read_state(chosen.state)) {
  if (earlier_ && earlier_->is_complete()) base_ = &*earlier_;
}

std::uint32_t backup_chain::since() const {
  if (base_) return base_->next_era;
  return chosen_.written_since.value_or(0);
}

std::string backup_chain::target() const {
  return chosen_.is_nbd() ? chosen_.target : lasting_path(chosen_.target);
}

void backup_chain::require_target() const {
  if (base_ && !chosen_.is_new_image()) require_same_target();
  if (chosen_.is_new_image())
    require_new_image();
  else if (!chosen_.is_nbd())
    require_plain_image();
}

void backup_chain::require_same_target() const {
  const std::string now = target();
  if (base_->target == now && base_->target_is_device != is_block_device(now))
    throw pd::invalid_input(
        fmt::format("{}: the last backup, {}, was {}, and is {} now; --full copies all",
                    chosen_.state, now, base_->target_is_device ? "a block device" : "a file",
                    base_->target_is_device ? "none" : "a block device"));
  if (base_->target != now)
    throw pd::invalid_input(fmt::format(
        "{}: the last backup is in {}, and changed blocks alone make no backup of {}; --full "
        "copies all",
        chosen_.state, base_->target, now));
  if (base_->format != name(image_format::raw))
    throw pd::invalid_input(fmt::format(
        "{}: the last backup, {}, is a qcow2 image, and would be overwritten with a plain one; "
        "--format qcow2 makes a new image, with another name, that continues it",
        chosen_.state, now));
}

// Is the file the plain image that the state speaks of, as long as it was then?
bool backup_chain::is_plain_backup(const std::string& path) const {
  if (!earlier_ || earlier_->target != lasting_path(path) ||
      earlier_->format != name(image_format::raw))
    return false;
  const plain_image_size image = measure_plain_image(path);
  return image.is_marked || earlier_->target_is_device || image.bytes == earlier_->source_bytes;
}

// A plain image begins like a qcow2 image only if the source does, or did when the state was made.
void backup_chain::require_plain_image() const {
  const std::string& target = chosen_.target;
  if (!begins_like_qcow2(target) || is_plain_backup(target) ||
      begin_like_one_qcow2(target, chosen_.source))
    return;
  throw pd::device_error(
      fmt::format("{}: begins like a qcow2 image, and would be overwritten with a plain one; "
                  "--format qcow2 makes a new image, with another name; to overwrite this one, "
                  "remove it, or what it begins with, first",
                  target));
}

// If its summary was lost, the same command is given again.
void backup_chain::require_new_image() const {
  std::error_code ignored;
  if (base_ && base_->target == target() && std::filesystem::exists(chosen_.target, ignored))
    throw pd::invalid_input(
        fmt::format("{}: is the last backup, which {} describes; name a new file for the next one",
                    chosen_.target, chosen_.state));
}

void backup_chain::require_metadata(const metadata& m, const pd::block_device& device,
                                    const data_device& source) const {
  require_same_size(m, device, source);
  if (base_) require_same_history(m, device, source);
}

void backup_chain::require_same_size(const metadata& m, const pd::block_device& device,
                                     const data_device& source) const {
  const std::uint64_t blocks = blocks_for(source.bytes(), bytes_of_block(m.block_size));
  if (blocks != m.nr_blocks)
    throw pd::invalid_input(
        fmt::format("{}: has {} blocks of {} sectors, and the metadata in {} is about {}; name "
                    "the origin, or "
                    "a snapshot of it",
                    source.path(), blocks, m.block_size, device.path(), m.nr_blocks));
}

// The metadata is what the last backup saw, some eras later.
void backup_chain::require_same_history(const metadata& m, const pd::block_device& device,
                                        const data_device& source) const {
  if (m.block_size != base_->block_size)
    fail_state(device, fmt::format("it is about blocks of {} sectors, and the metadata of {}",
                                   base_->block_size, m.block_size));
  if (source.bytes() < base_->source_bytes)
    fail_state(device, fmt::format("the device had {} bytes, and has {}", base_->source_bytes,
                                   source.bytes()));
  if (const auto wrong = find_contradiction(
          base_->witnesses, {std::max(base_->current_era, base_->next_era)}, m, device))
    fail_state(device,
               fmt::format("block {} was last written in era {}, and now in era {}, which had "
                           "ended by then: the metadata was made anew, repaired with assumptions, "
                           "or is another device's",
                           wrong->noted.block, wrong->noted.era, wrong->now));
}

void backup_chain::require_later_era(era_nr current, const pd::block_device& device) const {
  if (base_ && current.value < base_->current_era)
    fail_state(device,
               fmt::format("the current era was {}, and is {}", base_->current_era, current));
}

// The first era that the backup may lack blocks of. If damage hides the current one, it may be
// the oldest that is possible.
std::optional<std::uint32_t> backup_chain::next_era(const metadata& m,
                                                    const pd::block_device& device) const {
  const std::uint64_t current = m.least_current_era.value;
  if (!chosen_.next_era) {
    if (chosen_.from == source::snapshot) return {};
    return static_cast<std::uint32_t>(current + 1);
  }
  const std::uint64_t next = *chosen_.next_era;
  const std::uint64_t most = chosen_.from == source::snapshot ? current : current + 1;
  if (next > most)
    throw pd::invalid_input(fmt::format(
        "{}: era {} had not begun when this metadata was written, in era {}: what was written "
        "before the data's snapshot would be missing; {}",
        device.path(), next, current,
        m.lost.era_is_guess ? "the era is a guess: give it with --current-era"
                            : "take the metadata snapshot after it"));
  if (next < since())
    throw pd::invalid_input(fmt::format(
        "--next-era {} is before era {}, since which blocks are copied", next, since()));
  return chosen_.next_era;
}

// The image that a new one continues.
std::optional<backing_image> backup_chain::backing() const {
  if (since() == 0) return {};
  if (!chosen_.backing.empty()) {
    const backing_image named{chosen_.backing,
                              chosen_.backing_format.value_or(format_by_name(chosen_.backing))};
    if (!chosen_.backing_format && named.format == image_format::raw &&
        begins_like_qcow2(named.path))
      throw pd::device_error(fmt::format(
          "{}: begins like a qcow2 image; say which it is with --backing-format", named.path));
    return named;
  }
  if (is_nbd_uri(base_->target))
    throw pd::invalid_input(
        fmt::format("{}: the last backup is behind an NBD server, and cannot be a backing file; "
                    "name one with "
                    "--backing, or copy all with --full",
                    chosen_.state));
  const bool is_raw = base_->format == name(image_format::raw);
  if (is_raw && begins_like_qcow2(base_->target) && !is_plain_backup(base_->target))
    throw pd::device_error(fmt::format(
        "{}: begins like a qcow2 image, and was a plain one when {} was written; name the last "
        "backup with --backing and --backing-format, or copy all with --full",
        base_->target, chosen_.state));
  return backing_image{base_->target, is_raw ? image_format::raw : image_format::qcow2};
}

// Writing all of the target takes away what the state says of it: a state that was not replaced
// in the end must not let the next run copy changed blocks alone.
void backup_chain::give_up(backup_state next) const {
  if (chosen_.state.empty()) return;
  try {
    const auto old = read_state(chosen_.state);
    if (!old || !old->is_complete() || !may_be_one_target(old->target, next.target)) return;
  } catch (const pd::invalid_input&) {
    return;  // no run continues a damaged state
  }
  next.next_era = backup_state::incomplete;
  next.witnesses.clear();
  write_state(chosen_.state, next);
}

void backup_chain::fail_state(const pd::block_device& device, const std::string& why) const {
  throw pd::invalid_input(
      fmt::format("{}: does not go together with {}: {}; if they belong together, changed blocks "
                  "are not enough, and --full copies all",
                  chosen_.state, device.path(), why));
}

}  // namespace era
