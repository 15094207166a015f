// SPDX-License-Identifier: GPL-3.0-or-later
// snapshot_data:
// 1. Read the current era; the next one is one more. Somebody else may end an era before the
//    suspend: then the next era is lower than it could be, and a later backup copies more.
// 2. Fork the command's process and the watchdog: to do so needs memory, which could wait for the
//    suspended device.
// 3. Lock memory, and suspend. The suspend waits for writes under way, and ends the era.
// 4. Run the command.
// 5. If somebody else has resumed the device meanwhile, the command's snapshot may have writes of
//    the next era, and not all that came before: it is refused.
// 6. Resume, in every case. Only then judge the command, and speak.
#include "era/backup/era_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "era/backup/blocked_signals.h"
#include "era/backup/resume_watchdog.h"
#include "era/text/printable.h"
#include "era/text/words.h"
#include "persistent-data/format/errors.h"

namespace era {

namespace {

constexpr const char* take = "take_metadata_snap";
constexpr const char* drop = "drop_metadata_snap";

// Locked memory needs no file. A process that may not lock it goes on without.
class locked_memory {
 public:
  locked_memory() noexcept { ::mlockall(MCL_CURRENT | MCL_FUTURE); }
  ~locked_memory() { ::munlockall(); }
  locked_memory(const locked_memory&) = delete;
  locked_memory& operator=(const locked_memory&) = delete;
};

// Returns nullopt if the word is no number of 32 bits.
std::optional<std::uint32_t> number_of(std::string_view word) {
  const leading_number number = parse_leading_number(word);
  if (!number.is_all() || number.value > std::numeric_limits<std::uint32_t>::max()) return {};
  return static_cast<std::uint32_t>(number.value);
}

// The path of a device of a table: the kernel names it by its numbers.
std::string node_of(device_mapper& dm, std::string_view device) {
  const std::size_t colon = std::min(device.find(':'), device.size());
  const auto major = number_of(device.substr(0, colon));
  const auto minor = number_of(device.substr(std::min(colon + 1, device.size())));
  return major && minor ? dm.node(*major, *minor) : std::string(device);
}

std::string reason_of(std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown";
  }
}

}  // namespace

era_device::era_device(std::string name, device_mapper& dm) : name_(std::move(name)), dm_(dm) {
  existing();
  const std::vector<mapped_target> table = dm_.table(name_);
  if (table.size() != 1 || table[0].type != "era")
    throw pd::device_error(
        fmt::format("mapped device {} is no era device: its table has {}", name_,
                    table.empty()      ? "no target"
                    : table.size() > 1 ? fmt::format("{} targets", table.size())
                                       : fmt::format("the target {}", printable(table[0].type))));
  const auto words = words_of(table[0].parameters, " ");
  const auto block_size = words.size() == 3 ? number_of(words[2]) : std::nullopt;
  if (!block_size)
    throw pd::device_error(fmt::format("mapped device {} has a table that is not understood: {}",
                                       name_, printable(table[0].parameters)));
  metadata_ = node_of(dm_, words[0]);
  origin_ = node_of(dm_, words[1]);
  block_size_ = *block_size;
  size_ = table[0].length;
}

mapped_device_info era_device::existing() {
  const mapped_device_info info = dm_.info(name_);
  if (!info.exists) throw pd::device_error(fmt::format("there is no mapped device {}", name_));
  return info;
}

era_device::status era_device::read_status() {
  const std::vector<mapped_target> targets = dm_.status(name_);
  const std::string line = targets.size() == 1 ? targets[0].parameters : "";
  // <metadata block size> <used>/<total> <current era> <held metadata root | ->
  const auto words = words_of(line, " ");
  const auto era = words.size() == 4 ? number_of(words[2]) : std::nullopt;
  if (!era || *era > max_current_era)
    throw pd::device_error(
        fmt::format("the status of era device {} is \"{}\": its metadata has failed; see era(7)",
                    name_, printable(line)));
  return {era_nr{*era}, words[3] != "-"};
}

void era_device::refuse_metadata_snapshot(const status& found) const {
  if (found.has_metadata_snapshot)
    throw pd::device_error(
        fmt::format("era device {} has a metadata snapshot already, and can have only one. If "
                    "nobody reads it: dmsetup message {} 0 {}",
                    name_, name_, drop));
}

bool era_device::end_suspension() {
  const mapped_device_info info = existing();
  if (info.suspended && info.has_inactive_table)
    throw pd::device_error(
        fmt::format("era device {} is suspended, and somebody has loaded a table: activate it with "
                    "dmsetup resume {}, or forget it with dmsetup clear {}",
                    name_, name_, name_));
  if (info.suspended) resume("");
  return info.suspended;
}

era_device_leftovers era_device::clean_up() {
  era_device_leftovers found;
  found.was_suspended = end_suspension();
  found.had_metadata_snapshot = read_status().has_metadata_snapshot;
  if (found.had_metadata_snapshot) drop_metadata_snapshot();
  return found;
}

void era_device::resume(const std::string& before) {
  try {
    dm_.resume(name_);
  } catch (const pd::device_error& e) {
    throw still_suspended(fmt::format("{}. Writes to it wait; resume it: dmsetup resume {}{}{}",
                                      e.what(), name_,
                                      before.empty() ? "" : ". Before that: ", before));
  }
}

data_snapshot era_device::snapshot_data(const snapshot_command_options& options,
                                        const wait_function& wait_for) {
  const mapped_device_info info = existing();
  if (info.suspended)
    throw pd::device_error(
        fmt::format("era device {} is suspended already. If nobody is at work with it: dmsetup "
                    "resume {}",
                    name_, name_));
  if (info.has_inactive_table)
    throw pd::device_error(
        fmt::format("somebody has loaded a table for era device {}, which a resume would activate: "
                    "forget it with dmsetup clear {}",
                    name_, name_));
  const status before = read_status();
  refuse_metadata_snapshot(before);
  data_snapshot result{era_nr{before.current_era.value + 1}, ""};

  snapshot_command command(options,
                           {{"ERA_DEVICE", name_}, {"ERA_NEXT", fmt::to_string(result.next_era)}});
  bool was_resumed = false;
  {
    // For a process that hangs: one that does not ends the command within two times `grace`.
    const auto limit = options.time_limit + 4 * options.grace;
    resume_watchdog watchdog(dm_, {.device = name_, .limit = limit});
    const blocked_signals no_stop{SIGTSTP};  // ^Z
    const locked_memory locked;
    std::exception_ptr failure;
    try {
      dm_.suspend(name_);
      watchdog.suspended();
      command.run(wait_for);
    } catch (...) {
      failure = std::current_exception();
    }
    // A suspend that fails may have suspended the device all the same.
    try {
      was_resumed = !dm_.info(name_).suspended;
    } catch (const pd::device_error&) {  // to resume it does no harm
    }
    if (!was_resumed) resume(failure ? reason_of(failure) : "");
    watchdog.done();
    if (failure) std::rethrow_exception(failure);
  }
  result.output = command.output();
  if (was_resumed)
    throw pd::device_error(
        fmt::format("somebody resumed era device {} while the snapshot command was at work: its "
                    "snapshot cannot be used",
                    name_));
  return result;
}

void era_device::take_metadata_snapshot() {
  refuse_metadata_snapshot(read_status());
  dm_.message(name_, take);
}

void era_device::drop_metadata_snapshot() { dm_.message(name_, drop); }

}  // namespace era
