// SPDX-License-Identifier: GPL-3.0-or-later
// A state is small: it is read at once.
#include "era/commands/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "era/commands/output.h"
#include "era/commands/output_place.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

constexpr std::size_t most = std::size_t{64} << 20;  // far more than a state has

[[noreturn]] void fail(const std::string& path) {
  throw pd::device_error(fmt::format("{}: {}", path, std::strerror(errno)));
}

// Returns nullopt if there is no such file.
std::optional<std::string> read_text(const std::string& path) {
  // O_NONBLOCK: a pipe's other end may never come.
  const pd::unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return {};
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) fail(path);
  if (!S_ISREG(status.st_mode))
    throw pd::invalid_input(
        fmt::format("{}: is no regular file, and keeps no state; name another file", path));
  std::string text;
  char buffer[1 << 16];
  while (const ssize_t got = ::read(fd.get(), buffer, sizeof buffer)) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path);
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > most) break;
  }
  // Every state begins with it, however damaged it is after that.
  const std::string_view first(text.data(), std::min<std::size_t>(text.size(), 256));
  const bool is_state = first.find("\"era_backup_state\"") != std::string_view::npos ||
                        first.starts_with(incomplete_mark);
  if (text.size() > most || (!text.empty() && !is_state))
    throw pd::invalid_input(
        fmt::format("{}: is there, and no state of era_backup; name another file", path));
  return text;
}

}  // namespace

std::optional<backup_state> read_state(const std::string& path) {
  const auto text = read_text(path);
  if (!text) return {};
  if (text->starts_with(incomplete_mark))
    throw pd::invalid_input(fmt::format(
        "{}: a backup was stopped while it overwrote this state; --full copies all", path));
  try {
    return backup_state_of_json(*text);
  } catch (const pd::invalid_input& e) {
    throw pd::invalid_input(fmt::format("{}: {}", path, e.what()));
  }
}

void require_place_for_state(const std::string& path) {
  read_text(path);
  if (find_output_place(path).descriptor >= 0)
    throw pd::invalid_input(fmt::format(
        "{}: is an open file, and a state is replaced as a whole; name it by its path", path));
  const output made_and_removed(path);
}

void write_state(const std::string& path, const backup_state& state) {
  output out(path);
  out.write(to_json(state));
  out.commit();
}

bool is_written(const std::string& path, const backup_state& state) noexcept try {
  return read_text(path) == to_json(state);
} catch (const std::exception&) {
  return false;
}

}  // namespace era
