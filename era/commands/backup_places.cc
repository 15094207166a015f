// SPDX-License-Identifier: GPL-3.0-or-later
// Storage is compared, not names: a link, a loop device or a partition leads to the same bytes.
#include "era/commands/backup_places.h"

#include <unistd.h>

#include <utility>

#include <fmt/format.h>

#include "era/backup/lasting_path.h"
#include "era/commands/backup_journal.h"
#include "era/commands/output_place.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/storage.h"

namespace era {
namespace {

[[noreturn]] void fail_as_standard_output(const char* what) {
  throw pd::device_error(
      fmt::format("standard output: is the {}, and would change it; name another", what));
}

[[noreturn]] void fail_as_state(const backup_options& chosen, const char* what) {
  throw pd::device_error(fmt::format("{}: is {}, and cannot be the state, too; name another file",
                                     chosen.state, what));
}

// The summary goes there, at its beginning if a shell has not cut it.
void require_other_standard_output(const backup_options& chosen) {
  const auto printed = pd::storage::of_descriptor(STDOUT_FILENO);
  const std::pair<std::string, const char*> others[] = {
      {chosen.metadata, "metadata"},
      {chosen.source, "source"},
      {chosen.is_nbd() ? "" : chosen.target, "target"},
      {chosen.state, "state"}};
  for (const auto& [path, what] : others)
    if (pd::storage::at(path).overlaps(printed)) fail_as_standard_output(what);
}

}  // namespace

bool is_same_place(const std::string& a, const std::string& b) {
  if (pd::storage::at(a).overlaps(pd::storage::at(b))) return true;
  const output_place first = find_output_place(a), second = find_output_place(b);
  const auto path = [](const output_place& p) { return lasting_path(p.directory + '/' + p.name); };
  return first.descriptor < 0 && second.descriptor < 0 && path(first) == path(second);
}

void require_separate_places(const backup_options& chosen, const data_device& source,
                             const pd::block_device& metadata) {
  require_other_standard_output(chosen);
  if (source.overlaps(chosen.target))
    throw pd::device_error(
        fmt::format("{}: is the source itself, or lies on it; name another target", chosen.target));
  if (metadata.overlaps(chosen.target))
    throw pd::device_error(
        fmt::format("{}: is the metadata, or lies on it; name another target", chosen.target));
  if (source.overlaps(chosen.metadata))
    throw pd::device_error(fmt::format("{}: is both the source and the metadata", chosen.source));
  if (!chosen.backing.empty()) require_separate_backing(chosen.backing, chosen, source, metadata);
  require_separate_state(chosen);
}

void require_separate_state(const backup_options& chosen) {
  if (chosen.state.empty()) return;
  const std::string journal = backup_journal::path_for(chosen.state);
  const std::pair<std::string, const char*> others[] = {
      {chosen.is_nbd() ? "" : chosen.target, "the target"},
      {chosen.source, "the source"},
      {chosen.metadata, "the metadata"}};
  for (const auto& [path, what] : others) {
    if (path.empty()) continue;
    if (is_same_place(path, chosen.state)) fail_as_state(chosen, what);
    if (is_same_place(path, journal))
      throw pd::device_error(fmt::format(
          "{}: is {}, and has to be the journal of {}, too; give the state another name", journal,
          what, chosen.state));
  }
}

void require_separate_backing(const std::string& file, const backup_options& chosen,
                              const data_device& source, const pd::block_device& metadata) {
  if (pd::storage::at(file).overlaps(pd::storage::of_descriptor(STDOUT_FILENO)))
    fail_as_standard_output("backing file");
  if (source.overlaps(file))
    throw pd::device_error(fmt::format(
        "{}: is the source itself, or lies on it, and changes with it; name the last backup",
        file));
  if (metadata.overlaps(file))
    throw pd::device_error(fmt::format("{}: is the metadata; name the last backup", file));
  if (pd::storage::at(file).overlaps(pd::storage::at(chosen.state)))
    fail_as_state(chosen, "the backing file");
}

}  // namespace era
