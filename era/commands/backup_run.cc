// SPDX-License-Identifier: GPL-3.0-or-later
// 1. The state of the last backup says which era to ask for, and what the metadata must agree with.
// 2. The metadata says which blocks were written since.
// 3. They are copied from the source to the target, and made durable.
// 4. Only then the state is replaced: until then the next run copies the same blocks again.
//
// A full backup that overwrites the target of the state spoils it for the old state, so before its
// first write the state says that all blocks have to be copied.
#include "era/commands/backup_run.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "era/backup/backup_state.h"
#include "era/backup/backup_summary.h"
#include "era/backup/bitmap_image.h"
#include "era/backup/block_copier.h"
#include "era/backup/raw_target.h"
#include "era/commands/list_changes.h"
#include "era/commands/metadata_source.h"
#include "era/commands/new_image.h"
#include "era/commands/output.h"
#include "era/commands/output_place.h"
#include "era/commands/progress.h"
#include "era/commands/state_file.h"
#include "era/text/range_text.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/storage.h"

namespace era {
namespace {

std::string absolute(const std::string& path) {
  std::error_code ignored;
  const auto result = std::filesystem::weakly_canonical(std::filesystem::absolute(path), ignored);
  return result.empty() ? path : result.string();
}

// Also if neither is there yet.
bool is_same_place(const std::string& a, const std::string& b) {
  if (pd::storage::at(a).overlaps(pd::storage::at(b))) return true;
  const output_place first = find_output_place(a), second = find_output_place(b);
  const auto path = [](const output_place& p) { return absolute(p.directory + '/' + p.name); };
  return first.descriptor < 0 && second.descriptor < 0 && path(first) == path(second);
}

std::string with_unit(std::uint64_t bytes) {
  static constexpr const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

class backup {
 public:
  backup(command_line& line, const backup_options& chosen, const backup_steps& steps)
      : line_(line),
        chosen_(chosen),
        steps_(steps),
        earlier_(chosen.state.empty() || chosen.full ? std::nullopt : read_state(chosen.state)),
        source_(chosen.source, pd::access::reading),
        device_(chosen.metadata, access_to(chosen.from), line.engine()) {
    if (earlier_ && earlier_->is_complete()) base_ = &*earlier_;
    if (!chosen_.written_since && !base_ && !chosen_.full && !chosen_.quiet)
      line_.say(fmt::format("{}: {}: all blocks are copied", chosen_.state,
                            earlier_ ? "a full backup was not finished" : "is not there yet"));
  }

  int run() {
    require_other_devices();
    if (!chosen_.state.empty()) require_place_for_state(chosen_.state);
    if (base_ && !chosen_.is_new_image()) require_same_target();
    if (!chosen_.is_new_image() && !chosen_.is_nbd()) require_plain_image();
    if (since() == 0 && !chosen_.backing.empty())
      throw pd::invalid_input(fmt::format(
          "{}: all blocks are copied, and --backing has no effect; leave it out", chosen_.state));
    std::optional<new_image> image;
    if (chosen_.is_new_image()) image.emplace(chosen_.target);
    const auto found =
        list_changes(line_, device_,
                     {.window = {since(), std::uint64_t{1} << 32},
                      .from = chosen_.from,
                      .repair = chosen_.repair,
                      .given = chosen_.given,
                      .in_doubt = "blocks are copied",
                      .opened = [&](era_nr current) { require_later_era(current); }});
    if (!found) return exit_failure;
    const metadata& m = found->opened;
    require_same_size(m);
    if (base_) require_same_history(m);
    backup_state next = next_state(m);
    if (!chosen_.state.empty() || chosen_.json) to_json(next);  // or it fails when all is copied
    if (chosen_.from == source::snapshot) {
      pd::read_queue queue(device_.make_engine(), device_.nr_blocks());
      require_still_held(queue, device_, m);
    }
    steps_.metadata_was_read();
    if (!chosen_.bitmap.empty()) return mark(found->listed, m, next, *image);

    auto target = open_target(m, image, [&] {
      if (since() == 0) give_up_earlier_backup(next);
    });
    const auto start = std::chrono::steady_clock::now();
    const copied_blocks copied = copy(found->listed, m, *target);
    target.reset();
    if (image) {
      check_qcow2(image->temporary_path());
      image->commit();
    }
    next.unread = copied.unread;
    if (!chosen_.state.empty()) write_state(next, image);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    report(found->listed, m, copied, next,
           fmt::format("copied to {} in {:.1f} s{}", chosen_.target, seconds.count(),
                       chosen_.verify ? ", and read back" : ""));
    return copied.unread.empty() ? exit_success : exit_failure;
  }

 private:
  std::uint32_t since() const {
    if (base_) return base_->next_era;
    return chosen_.written_since.value_or(0);
  }

  // If the state cannot be written, the same command has to run again, and to find its name free. A
  // state that only could not be flushed names the image already.
  void write_state(const backup_state& next, std::optional<new_image>& image) const {
    try {
      era::write_state(chosen_.state, next);
    } catch (...) {
      if (image && !is_written(chosen_.state, next)) image->take_back();
      throw;
    }
  }

  // The summary goes there, at its beginning if a shell has not cut it.
  void require_other_standard_output() const {
    const auto printed = pd::storage::of_descriptor(STDOUT_FILENO);
    const std::pair<std::string, const char*> others[] = {
        {chosen_.metadata, "metadata"},
        {chosen_.source, "source"},
        {chosen_.is_nbd() ? "" : chosen_.target, "target"},
        {chosen_.backing, "backing file"},
        {chosen_.state, "state"}};
    for (const auto& [path, what] : others)
      if (pd::storage::at(path).overlaps(printed))
        throw pd::device_error(
            fmt::format("standard output: is the {}, and would change it; name another", what));
  }

  // Writing the backup and its state must not change what it is made of.
  void require_other_devices() const {
    require_other_standard_output();
    if (source_.overlaps(chosen_.target))
      throw pd::device_error(fmt::format(
          "{}: is the source itself, or lies on it; name another target", chosen_.target));
    if (device_.overlaps(chosen_.target))
      throw pd::device_error(
          fmt::format("{}: is the metadata, or lies on it; name another target", chosen_.target));
    if (source_.overlaps(chosen_.metadata))
      throw pd::device_error(
          fmt::format("{}: is both the source and the metadata", chosen_.source));
    if (!chosen_.backing.empty() && source_.overlaps(chosen_.backing))
      throw pd::device_error(fmt::format(
          "{}: is the source itself, or lies on it, and changes with it; name the last backup",
          chosen_.backing));
    if (!chosen_.backing.empty() && device_.overlaps(chosen_.backing))
      throw pd::device_error(
          fmt::format("{}: is the metadata; name the last backup", chosen_.backing));
    if (chosen_.state.empty()) return;
    const std::pair<std::string, const char*> others[] = {
        {chosen_.is_nbd() ? "" : chosen_.target, "the target"},
        {chosen_.source, "the source"},
        {chosen_.metadata, "the metadata"},
        {chosen_.backing, "the backing file"}};
    for (const auto& [path, what] : others)
      if (!path.empty() && is_same_place(path, chosen_.state))
        throw pd::device_error(
            fmt::format("{}: is {}, and cannot be the state, too; name another "
                        "file",
                        chosen_.state, what));
  }

  std::string name_of_target() const {
    return chosen_.is_nbd() ? chosen_.target : absolute(chosen_.target);
  }

  void require_same_target() const {
    const std::string target = name_of_target();
    if (base_->target != target)
      throw pd::invalid_input(fmt::format(
          "{}: the last backup is in {}, and changed blocks alone make no backup of {}; --full "
          "copies all",
          chosen_.state, base_->target, target));
    if (base_->format != name(image_format::raw))
      throw pd::invalid_input(fmt::format(
          "{}: the last backup, {}, is a qcow2 image, and would be overwritten with a plain one; "
          "--format qcow2 makes a new image, with another name, that continues it",
          chosen_.state, target));
  }

  // A plain image begins like a qcow2 image only if the source does, or did when the state was
  // made.
  void require_plain_image() const {
    const bool is_known = earlier_ && earlier_->target == name_of_target() &&
                          earlier_->format == name(image_format::raw);
    if (is_known || !begins_like_qcow2(chosen_.target) || begins_like_qcow2(chosen_.source)) return;
    throw pd::device_error(
        fmt::format("{}: begins like a qcow2 image, and would be overwritten with a plain one; "
                    "--format qcow2 makes a new image, with another name; to overwrite this one, "
                    "remove it, or what it begins with, first",
                    chosen_.target));
  }

  // Writing all of the target takes away what the state says of it: a state that was not replaced
  // in the end must not let the next run copy changed blocks alone.
  void give_up_earlier_backup(backup_state next) const {
    if (chosen_.state.empty()) return;
    try {
      const auto old = read_state(chosen_.state);
      if (!old || !old->is_complete() || old->target != next.target) return;
    } catch (const pd::invalid_input&) {
      return;  // no run continues a damaged state
    }
    next.next_era = backup_state::incomplete;
    next.witnesses.clear();
    era::write_state(chosen_.state, next);
  }

  [[noreturn]] void fail_state(const std::string& why) const {
    throw pd::invalid_input(
        fmt::format("{}: does not go together with {}: {}; if they belong together, changed blocks "
                    "are not enough, and --full copies all",
                    chosen_.state, device_.path(), why));
  }

  void require_same_size(const metadata& m) const {
    const std::uint64_t block_bytes = std::uint64_t{m.block_size} * 512;
    const std::uint64_t bytes = source_.bytes();
    const std::uint64_t blocks = bytes / block_bytes + (bytes % block_bytes != 0);
    if (blocks != m.nr_blocks)
      throw pd::invalid_input(
          fmt::format("{}: has {} blocks of {} sectors, and the metadata in {} is about {}; name "
                      "the origin, or "
                      "a snapshot of it",
                      source_.path(), blocks, m.block_size, device_.path(), m.nr_blocks));
  }

  // The metadata is what the last backup saw, some eras later.
  void require_same_history(const metadata& m) const {
    if (m.block_size != base_->block_size)
      fail_state(fmt::format("it is about blocks of {} sectors, and the metadata of {}",
                             base_->block_size, m.block_size));
    if (source_.bytes() < base_->source_bytes)
      fail_state(
          fmt::format("the device had {} bytes, and has {}", base_->source_bytes, source_.bytes()));
    if (const auto wrong = find_contradiction(
            base_->witnesses, {std::max(base_->current_era, base_->next_era)}, m, device_))
      fail_state(
          fmt::format("block {} was last written in era {}, and now in era {}, which had "
                      "ended by then: the metadata was made anew, or is another device's",
                      wrong->noted.block, wrong->noted.era, wrong->now));
  }

  void require_later_era(era_nr current) const {
    if (base_ && current.value < base_->current_era)
      fail_state(fmt::format("the current era was {}, and is {}", base_->current_era, current));
  }

  // The first era that the backup may lack blocks of. If damage hides the current one, it may be
  // the oldest that is possible.
  std::optional<std::uint32_t> next_era(const metadata& m) const {
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
          device_.path(), next, current,
          m.lost.era_is_guess ? "the era is a guess: give it with --current-era"
                              : "take the metadata snapshot after it"));
    if (next < since())
      throw pd::invalid_input(fmt::format(
          "--next-era {} is before era {}, since which blocks are copied", next, since()));
    return chosen_.next_era;
  }

  backup_state next_state(const metadata& m) const {
    backup_state next;
    next.source = chosen_.source;
    next.source_bytes = source_.bytes();
    next.block_size = m.block_size;
    next.nr_blocks = m.nr_blocks;
    next.current_era = m.least_current_era.value;
    next.next_era = next_era(m).value_or(0);
    next.target = name_of_target();
    next.format = name(chosen_.format());
    if (!chosen_.state.empty())
      next.witnesses = choose_witnesses(
          m, device_, std::uint64_t{std::random_device()()} << 32 | std::random_device()());
    return next;
  }

  // The image that a new one continues.
  std::optional<backing_image> backing() const {
    if (since() == 0) return {};
    if (!chosen_.backing.empty())
      return backing_image{chosen_.backing,
                           chosen_.backing_format.value_or(format_by_name(chosen_.backing))};
    if (is_nbd_uri(base_->target))
      throw pd::invalid_input(
          fmt::format("{}: the last backup is behind an NBD server, and cannot be a backing file; "
                      "name one with "
                      "--backing, or copy all with --full",
                      chosen_.state));
    return backing_image{base_->target,
                         base_->format == "raw" ? image_format::raw : image_format::qcow2};
  }

  // before_change: called before an earlier backup is overwritten, when its target has been opened.
  std::unique_ptr<backup_target> open_target(const metadata& m, std::optional<new_image>& image,
                                             const std::function<void()>& before_change) {
    if (image) return make_qcow2(m, *image);
    if (!chosen_.is_nbd())
      return open_raw_target(
          chosen_.target,
          {.bytes = source_.bytes(), .is_new = since() == 0, .before_change = before_change});
    auto target = connect_nbd(chosen_.target, {source_.bytes(), std::uint64_t{m.block_size} * 512});
    before_change();
    return target;
  }

  std::unique_ptr<backup_target> make_qcow2(const metadata& m, const new_image& image) {
    const auto below = backing();
    const std::uint64_t held = below ? size_of_image(*below) : 0;
    if (held > source_.bytes())
      throw pd::device_error(
          fmt::format("{}: is no backup of the source: it has {} bytes, and the source has {}; "
                      "--full copies all",
                      below->path, held, source_.bytes()));
    create_qcow2(image.temporary_path(), {.bytes = source_.bytes(),
                                          .block_size = m.block_size,
                                          .backing = below ? &*below : nullptr});
    return open_qcow2({.path = image.temporary_path(), .name = chosen_.target, .held_bytes = held});
  }

  // Blocks that the last backup lacks, whenever they were written: those that could not be read,
  // and those past its end, of which nobody knows what they held before.
  std::vector<origin_range> missing_blocks(const metadata& m, const backup_target& target) const {
    std::vector<origin_range> missing;
    if (base_) missing = base_->unread;
    const std::uint64_t held =
        std::min(target.held_bytes(), base_ ? base_->source_bytes : source_.bytes());
    if (held < source_.bytes())
      missing.push_back({held / (std::uint64_t{m.block_size} * 512), m.nr_blocks});
    return missing;
  }

  // Copies nothing: makes an image that tells other programs what to copy.
  int mark(const listed_blocks& listed, const metadata& m, backup_state& next, new_image& image) {
    const std::uint64_t block_bytes = std::uint64_t{m.block_size} * 512;
    blocks_to_copy blocks(listed.blocks, {});
    copied_blocks marked;
    create_bitmap_image(image.temporary_path(),
                        {.name = chosen_.bitmap,
                         .source = chosen_.source,
                         .bytes = source_.bytes(),
                         .block_size = m.block_size},
                        [&]() -> std::optional<byte_range> {
                          const auto run = blocks.next();
                          if (!run) return {};
                          const std::uint64_t begin = run->begin * block_bytes;
                          const std::uint64_t end =
                              run->end == m.nr_blocks ? source_.bytes() : run->end * block_bytes;
                          marked.blocks += run->size();
                          marked.bytes += end - begin;
                          return byte_range{begin, end};
                        });
    image.commit();
    next.format = name(image_format::qcow2);
    report(listed, m, marked, next,
           fmt::format("marked in bitmap {} of {}", chosen_.bitmap, chosen_.target));
    return exit_success;
  }

  copied_blocks copy(const listed_blocks& listed, const metadata& m, backup_target& target) {
    blocks_to_copy blocks(listed.blocks, missing_blocks(m, target));
    std::uint64_t bytes = 0, done = 0;
    while (const auto run = blocks.next()) bytes += run->size() * m.block_size * 512;
    blocks.rewind();
    progress shown(line_.name(), chosen_.verify ? 2 * bytes : bytes,
                   chosen_.quiet ? progress::sink() : progress_on_terminal());
    line_.show(&shown);
    struct no_longer_shown {
      command_line& line;
      ~no_longer_shown() { line.show(nullptr); }
    } const at_end{line_};
    block_copier copier(source_, target,
                        {.block_size = m.block_size,
                         .keep_going = chosen_.keep_going,
                         .unreadable = [&](origin_range r, int error) { tell_unread(r, error); },
                         .progress =
                             [&](std::uint64_t more) {
                               steps_.check_signals();
                               shown.update(done += more);
                             }});
    copied_blocks copied = copier.copy(blocks);
    if (chosen_.verify) {
      blocks.rewind();
      copier.verify(blocks, copied);
    }
    return copied;
  }

  void tell_unread(const origin_range& r, int error) const {
    line_.say(fmt::format("{}: {} cannot be read: {}", source_.path(), in_words("block", r),
                          std::strerror(error)));
  }

  void report(const listed_blocks& listed, const metadata& m, const copied_blocks& copied,
              backup_state next, const std::string& done) const {
    std::uint64_t unread = 0;
    for (const origin_range& r : copied.unread) unread += r.size();
    if (unread > 0)
      line_.say(fmt::format("{}: {} of {} blocks could not be read, and the backup lacks them{}",
                            source_.path(), unread, copied.blocks,
                            chosen_.state.empty() ? "" : "; the next run copies them again"));
    const bool knows_next = next_era(m).has_value();
    // Without a state nothing else remembers what the backup lacks.
    if (unread > 0 && chosen_.state.empty()) next.next_era = since();
    std::string text;
    if (chosen_.json)
      text = to_json(backup_summary{.state = next,
                                    .next_era_is_known = knows_next,
                                    .written_since = since(),
                                    .copied = copied,
                                    .in_doubt = listed.in_doubt,
                                    .verified = chosen_.verify});
    else if (!chosen_.quiet)
      text = fmt::format(
          "{} blocks ({}) {}{}\n", copied.blocks, with_unit(copied.bytes), done,
          knows_next ? fmt::format("; next time: --written-since {}", next.next_era) : "");
    if (!text.empty()) print_summary(text);
  }

  // The error has to say that there is nothing to repeat.
  static void print_summary(const std::string& text) {
    constexpr const char* nothing_else = "; the backup has been made, and only its summary is lost";
    try {
      print(text);
    } catch (const pd::closed_pipe& e) {
      throw pd::device_error(fmt::format("{}{}", e.what(), nothing_else));
    } catch (const pd::device_error& e) {
      throw pd::device_error(fmt::format("{}{}", e.what(), nothing_else));
    }
  }

  command_line& line_;
  const backup_options& chosen_;
  const backup_steps& steps_;
  const std::optional<backup_state> earlier_;
  const backup_state* base_ = nullptr;  // what this backup continues
  data_device source_;
  pd::block_device device_;
};

}  // namespace

image_format format_by_name(const std::string& path) {
  return path.ends_with(".qcow2") ? image_format::qcow2 : image_format::raw;
}

int run_backup(command_line& line, const backup_options& chosen, const backup_steps& steps) {
  return backup(line, chosen, steps).run();
}

}  // namespace era
