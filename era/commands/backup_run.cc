// SPDX-License-Identifier: GPL-3.0-or-later
// 1. The state of the last backup says which era to ask for, and what the metadata must agree with.
// 2. The metadata says which blocks were written since.
// 3. They are copied from the source to the target, and made durable.
// 4. Only then the state is replaced: until then the next run copies the same blocks again.
//
// A full backup that overwrites the target of the state spoils it for the old state, so before its
// first write the state says that all blocks have to be copied.
#include "era/commands/backup_run.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "era/backup/backup_state.h"
#include "era/backup/backup_summary.h"
#include "era/backup/bitmap_image.h"
#include "era/backup/block_copier.h"
#include "era/backup/growth_mark.h"
#include "era/backup/lasting_path.h"
#include "era/backup/open_files.h"
#include "era/backup/qemu_nbd.h"
#include "era/backup/raw_target.h"
#include "era/commands/backup_chain.h"
#include "era/commands/backup_places.h"
#include "era/commands/list_changes.h"
#include "era/commands/metadata_source.h"
#include "era/commands/new_image.h"
#include "era/commands/output.h"
#include "era/commands/progress.h"
#include "era/commands/state_file.h"
#include "era/text/range_text.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

std::string with_unit(std::uint64_t bytes) {
  static constexpr const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

class backup {
 public:
  backup(command_line& line, const backup_options& chosen, const backup_callbacks& callbacks)
      : line_(line),
        chosen_(chosen),
        callbacks_(callbacks),
        chain_(chosen),
        source_(chosen.source, pd::access::reading),
        device_(chosen.metadata, access_to(chosen.from), line.engine()) {
    if (!chosen_.written_since && !chain_.base() && !chosen_.full && !chosen_.quiet)
      line_.say(
          fmt::format("{}: {}: all blocks are copied", chosen_.state,
                      chain_.has_state() ? "a full backup was not finished" : "is not there yet"));
  }

  int run() {
    prepare();
    std::optional<new_image> image;
    if (chosen_.is_new_image()) image.emplace(chosen_.target);
    const auto found = list();
    if (!found) return exit_failure;
    backup_state next = next_state(found->opened);
    callbacks_.metadata_was_read();
    if (!chosen_.bitmap.empty()) return mark(found->listed, found->opened, next, *image);
    return copy_all(*found, next, image);
  }

 private:
  // Requires that options, state and places go together. Changes nothing.
  void prepare() const {
    require_separate_places(chosen_, source_, device_);
    if (!chosen_.state.empty()) require_place_for_state(chosen_.state);
    chain_.require_target();
    if (chain_.since() == 0 && !chosen_.backing.empty())
      throw pd::invalid_input(fmt::format(
          "{}: all blocks are copied, and --backing has no effect; leave it out", chosen_.state));
  }

  // Returns nullopt if damage hides blocks.
  std::optional<changes> list() {
    auto found = list_changes(
        line_, device_,
        {.window = {chain_.since(), std::uint64_t{1} << 32},
         .from = chosen_.from,
         .repair = chosen_.repair,
         .given = chosen_.given,
         .in_doubt = "blocks are copied",
         .opened = [&](era_nr current) { chain_.require_later_era(current, device_); }});
    if (found) chain_.require_metadata(found->opened, device_, source_);
    return found;
  }

  // Returns the exit status.
  int copy_all(const changes& found, backup_state& next, std::optional<new_image>& image) {
    const metadata& m = found.opened;
    auto target = open_target(m, image, [&] {
      if (chain_.since() == 0) chain_.give_up(next);
    });
    const auto start = std::chrono::steady_clock::now();
    const copy_report copied = copy(found.listed, m, *target);
    next.unread = copied.unread;
    const bool is_whole = chain_.since() == 0 || has_all_past(target->held_bytes(), copied, m);
    finish(std::move(target), image, next, is_whole);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    report(found.listed, m, copied, next,
           fmt::format("copied to {} in {:.1f} s{}", chosen_.target, seconds.count(),
                       chosen_.verify ? ", and read back" : ""));
    return copied.unread.empty() ? exit_success : exit_failure;
  }

  // Ends the growth of the target and writes the state. Blocks past the end of the last backup that
  // could not be read must be remembered at every moment, by the growth mark of a plain file or by
  // the state:
  // 1. The backup lacks none of them, or is a full one (is_whole): end_growth, then the state. If
  //    end_growth fails, the state is not replaced.
  // 2. It lacks some, and there is a state: the state, which lists them, then end_growth. If the
  //    state cannot be written, the mark stays.
  // 3. It lacks some, and there is no state: the mark stays, and the next run copies all blocks
  //    past the old end again. An image has no mark, so no image is made.
  // An image gets its name before the state names it.
  void finish(std::unique_ptr<backup_target> target, std::optional<new_image>& image,
              const backup_state& next, bool is_whole) const {
    const bool has_state = !chosen_.state.empty();
    if (!is_whole && image && !has_state)
      throw pd::device_error(
          fmt::format("{}: is not made: blocks past the end of the last backup could not be read, "
                      "and only a state remembers them; give --state, or copy all with --full",
                      chosen_.target));
    if (is_whole) target->end_growth();
    if (is_whole || image) target.reset();  // qemu-nbd must have ended
    if (image) {
      check_qcow2(image->temporary_path());
      image->commit();
    }
    if (has_state) write_state(next, image);
    if (target && has_state) target->end_growth();
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

  // Throws invalid_input if a text of the state is no UTF-8.
  backup_state next_state(const metadata& m) const {
    backup_state next;
    next.source = chosen_.source;
    next.source_bytes = source_.bytes();
    next.block_size = m.block_size;
    next.nr_blocks = m.nr_blocks;
    next.current_era = m.least_current_era.value;
    next.next_era = chain_.next_era(m, device_).value_or(0);
    next.target = chain_.target();
    next.target_is_device = !chosen_.is_nbd() && is_block_device(chosen_.target);
    next.format = name(chosen_.format());
    if (!chosen_.state.empty())
      next.witnesses = choose_witnesses(
          m, device_, std::uint64_t{std::random_device()()} << 32 | std::random_device()());
    if (!chosen_.state.empty() || chosen_.json) to_json(next);  // or it fails when all is copied
    return next;
  }

  // before_change: called before an earlier backup is overwritten, when its target has been opened.
  std::unique_ptr<backup_target> open_target(const metadata& m, std::optional<new_image>& image,
                                             const std::function<void()>& before_change) {
    if (image) return make_qcow2(m, *image);
    if (!chosen_.is_nbd())
      return open_raw_target(chosen_.target, {.bytes = source_.bytes(),
                                              .is_new = chain_.since() == 0,
                                              .before_change = before_change});
    auto target = connect_nbd(chosen_.target, {source_.bytes(), bytes_of_block(m.block_size)});
    before_change();
    return target;
  }

  // Measures what a new image continues. Only a block device may be larger than the source.
  plain_image_size measure_below(const backing_image& below) const {
    const image_summary found = summary_of_image(below);
    allow_open_files(found.nr_files + qemu_nbd_files,
                     fmt::format("{}: a chain of {} files", below.path, found.nr_files),
                     ", merge images (qemu-img commit), or begin a new chain with --full");
    for (const std::string& file : found.files)
      require_separate_backing(file, chosen_, source_, device_);
    plain_image_size image{found.bytes, found.bytes};
    if (below.format == image_format::raw) image = measure_plain_image(below.path);
    const bool may_be_larger = below.format == image_format::raw && is_block_device(below.path);
    if (image.bytes > source_.bytes() && !may_be_larger)
      throw pd::device_error(
          fmt::format("{}: is no backup of the source: it has {} bytes, and the source has {}; "
                      "--full copies all",
                      below.path, image.bytes, source_.bytes()));
    return image;
  }

  std::unique_ptr<backup_target> make_qcow2(const metadata& m, const new_image& image) {
    const auto below = chain_.backing();
    const plain_image_size held = below ? measure_below(*below) : plain_image_size{};
    create_qcow2(image.temporary_path(), {.bytes = source_.bytes(),
                                          .block_size = m.block_size,
                                          .backing = below ? &*below : nullptr});
    return open_qcow2({.path = image.temporary_path(),
                       .name = chosen_.target,
                       .held_bytes = held.held_bytes,
                       .zeros_from = held.bytes + (held.is_marked ? growth_mark_bytes : 0)});
  }

  // Blocks that the last backup lacks, whenever they were written: those that could not be read,
  // and those past its end, of which nobody knows what they held before.
  std::vector<origin_range> missing_blocks(const metadata& m, const backup_target& target) const {
    std::vector<origin_range> missing;
    if (chain_.base()) missing = chain_.base()->unread;
    const std::uint64_t held = std::min(
        target.held_bytes(), chain_.base() ? chain_.base()->source_bytes : source_.bytes());
    if (held < source_.bytes())
      missing.push_back({held / bytes_of_block(m.block_size), m.nr_blocks});
    return missing;
  }

  static bool has_all_past(std::uint64_t offset, const copy_report& copied, const metadata& m) {
    const std::uint64_t bytes = bytes_of_block(m.block_size);
    return std::none_of(copied.unread.begin(), copied.unread.end(),
                        [&](const origin_range& r) { return r.end * bytes > offset; });
  }

  // Copies nothing: makes an image that tells other programs what to copy.
  int mark(const change_list& listed, const metadata& m, backup_state& next, new_image& image) {
    const std::uint64_t block_bytes = bytes_of_block(m.block_size);
    blocks_to_copy blocks(listed.blocks, {});
    copy_report marked;
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

  copy_report copy(const change_list& listed, const metadata& m, backup_target& target) {
    blocks_to_copy blocks(listed.blocks, missing_blocks(m, target));
    std::uint64_t bytes = 0, done = 0;
    while (const auto run = blocks.next()) bytes += run->size() * bytes_of_block(m.block_size);
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
                               callbacks_.check_signals();
                               shown.update(done += more);
                             }});
    copy_report copied = copier.copy(blocks);
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

  void report(const change_list& listed, const metadata& m, const copy_report& copied,
              backup_state next, const std::string& done) const {
    std::uint64_t unread = 0;
    for (const origin_range& r : copied.unread) unread += r.size();
    if (unread > 0)
      line_.say(fmt::format("{}: {} of {} blocks could not be read, and the backup lacks them{}",
                            source_.path(), unread, copied.blocks,
                            chosen_.state.empty() ? "" : "; the next run copies them again"));
    const bool knows_next = chain_.next_era(m, device_).has_value();
    // Without a state nothing else remembers what the backup lacks.
    if (unread > 0 && chosen_.state.empty()) next.next_era = chain_.since();
    std::string text;
    if (chosen_.json)
      text = to_json(backup_summary{.state = next,
                                    .next_era_is_known = knows_next,
                                    .written_since = chain_.since(),
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
  const backup_callbacks& callbacks_;
  const backup_chain chain_;
  data_device source_;
  pd::block_device device_;
};

}  // namespace

image_format format_by_name(const std::string& path) {
  return path.ends_with(".qcow2") ? image_format::qcow2 : image_format::raw;
}

int run_backup(command_line& line, const backup_options& chosen,
               const backup_callbacks& callbacks) {
  return backup(line, chosen, callbacks).run();
}

}  // namespace era
