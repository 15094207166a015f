// SPDX-License-Identifier: GPL-3.0-or-later
// The journal is on disk before the device is suspended, so that whoever comes after a kill, or
// after a power cut, knows whose the metadata snapshot is.
#include "era/commands/live_device.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw pd::device_error(fmt::format("{}: {}", path, std::strerror(error)));
}

pd::unique_fd open_journal(const std::string& path) {
  pd::unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) fail(path, errno);
  if (const int error = pd::flush_directory_of(path, pd::system_calls::real()); error != 0)
    fail(path, error);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail(path, errno);
    throw pd::device_error(fmt::format(
        "{}: another backup with this state is at work; wait until it has finished", path));
  }
  return fd;
}

// The device of a backup that was killed, or nothing.
std::string name_in(int fd, const std::string& path) {
  char buffer[256] = {};  // names of devices are shorter
  const ssize_t got = ::pread(fd, buffer, sizeof buffer, 0);
  if (got < 0) fail(path, errno);
  const std::string text(buffer, static_cast<std::size_t>(got));
  return text.substr(0, text.find('\n'));
}

std::string without_newline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

live_device::live_device(const command_line& line, const live_device_options& options,
                         device_mapper& mapper)
    : line_(line),
      name_(options.name),
      journal_path_(options.journal),
      journal_(open_journal(options.journal)),
      device_(options.name, mapper) {
  if (const std::string left_at = name_in(journal_.get(), journal_path_); !left_at.empty()) {
    if (left_at != options.name)
      throw pd::device_error(
          fmt::format("{}: a backup of {} did not finish. Look after that device first: dmsetup "
                      "resume {}; dmsetup message {} 0 drop_metadata_snap; then remove this file",
                      journal_path_, left_at, left_at, left_at));
    const era_device_leftovers left = device_.clean_up();
    if (left.was_suspended || left.had_metadata_snapshot)
      line_.say(fmt::format("{}: the last backup did not finish: {}{}{}", options.name,
                            left.was_suspended ? "the device is resumed" : "",
                            left.was_suspended && left.had_metadata_snapshot ? ", and " : "",
                            left.had_metadata_snapshot ? "its metadata snapshot is dropped" : ""));
    write_journal("");
  }
  try {
    write_journal(options.name + '\n');
    const data_snapshot frozen = device_.snapshot_data(options.command, options.wait_for);
    next_era_ = frozen.next_era;
    if (!options.is_quiet && !frozen.output.empty())
      line_.say(fmt::format("the snapshot command says:\n{}", without_newline(frozen.output)));
    device_.take_metadata_snapshot();
  } catch (const still_suspended&) {
    throw;  // the next run resumes it
  } catch (...) {
    forget_journal();
    throw;
  }
  is_held_ = true;
}

live_device::~live_device() {
  try {
    release();
  } catch (const std::exception& e) {
    line_.say(
        fmt::format("{}: the metadata snapshot is still held, and the next backup drops it: {}",
                    name_, e.what()));
  }
}

void live_device::release() {
  if (!is_held_) return;
  is_held_ = false;
  device_.drop_metadata_snapshot();
  write_journal("");
}

void live_device::forget_journal() {
  try {
    write_journal("");
  } catch (const std::exception& e) {
    line_.say(fmt::format(
        "{}; the next backup takes this one for unfinished: it resumes {}, and drops its metadata "
        "snapshot",
        e.what(), name_));
  }
}

void live_device::write_journal(const std::string& text) {
  const int fd = journal_.get();
  pd::system_calls& calls = pd::system_calls::real();
  if (::ftruncate(fd, 0) != 0) fail(journal_path_, errno);
  int error = pd::write_whole(fd, std::as_bytes(std::span(text)), 0, calls);
  if (error == 0) error = pd::flush_file(fd, calls);
  if (error != 0) fail(journal_path_, error);
}

}  // namespace era
