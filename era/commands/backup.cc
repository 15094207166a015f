// SPDX-License-Identifier: GPL-3.0-or-later
// era_backup: copies the blocks that were written since an era into a backup.
//
// 1. The state of the last backup says which era to ask for, and what the metadata must agree with.
// 2. The metadata says which blocks were written since.
// 3. They are copied from the source to the target, and made durable.
// 4. Only then the state is replaced: until then the next run copies the same blocks again.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <random>

#include <fmt/format.h>

#include "era/backup/backup_state.h"
#include "era/backup/backup_summary.h"
#include "era/backup/bitmap_image.h"
#include "era/backup/block_copier.h"
#include "era/backup/nbd_target.h"
#include "era/backup/qcow2_image.h"
#include "era/backup/raw_target.h"
#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/list_changes.h"
#include "era/commands/live_device.h"
#include "era/commands/new_image.h"
#include "era/commands/output.h"
#include "era/commands/progress.h"
#include "era/commands/repair_reporter.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

image_format format_by_name(const std::string& path) {
  return path.ends_with(".qcow2") ? image_format::qcow2 : image_format::raw;
}

struct options {
  std::string metadata, source, target, state, backing, bitmap, era_device, snapshot_command;
  std::optional<std::uint32_t> time_limit;  // seconds
  std::optional<image_format> chosen_format, backing_format;
  std::optional<std::uint32_t> written_since, next_era;
  bool full = false, metadata_snapshot = false, repair = false;
  bool verify = false, keep_going = false, json = false, quiet = false;
  repair_options given;

  bool is_nbd() const { return is_nbd_uri(target); }
  image_format format() const { return chosen_format.value_or(format_by_name(target)); }
  bool is_new_image() const { return !bitmap.empty() || format() == image_format::qcow2; }
};

std::optional<std::string> text_of(const std::string& path) {
  const pd::unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};
  constexpr std::size_t most = std::size_t{64} << 20;  // far more than a state has
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = fd ? ::read(fd.get(), buffer, sizeof buffer) : -1;
    if (got < 0 && fd && errno == EINTR) continue;
    if (got < 0) throw pd::device_error(fmt::format("{}: {}", path, std::strerror(errno)));
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > most)
      throw pd::invalid_input(fmt::format("{}: is no state of era_backup", path));
    if (got == 0) return text;
  }
}

std::optional<backup_state> read_state(const std::string& path) {
  const auto text = text_of(path);
  if (!text) return {};
  try {
    return backup_state_of_json(*text);
  } catch (const pd::invalid_input& e) {
    throw pd::invalid_input(fmt::format("{}: {}", path, e.what()));
  }
}

// With --full there is none, whatever the file has.
std::optional<backup_state> earlier_state(const options& chosen) {
  if (chosen.state.empty() || chosen.full) return {};
  return read_state(chosen.state);
}

std::string absolute(const std::string& path) {
  std::error_code ignored;
  const auto result = std::filesystem::weakly_canonical(std::filesystem::absolute(path), ignored);
  return result.empty() ? path : result.string();
}

std::string with_unit(std::uint64_t bytes) {
  static constexpr const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

// What the backup of a live device has to do in between.
struct backup_steps {
  std::function<void()> metadata_was_read = [] {};
  std::function<void()> check_signals = [] {};
};

class backup {
 public:
  backup(command_line& line, const options& chosen, backup_steps steps)
      : line_(line),
        chosen_(chosen),
        steps_(std::move(steps)),
        earlier_(earlier_state(chosen)),
        source_(chosen.source, data_access::read),
        device_(chosen.metadata,
                chosen.metadata_snapshot ? pd::access::shared : pd::access::exclusive,
                line.engine()) {
    if (earlier_) base_ = &*earlier_;
    if (!chosen_.written_since && !base_ && !chosen_.full && !chosen_.quiet)
      line_.say(fmt::format("{}: is not there yet: all blocks are copied", chosen_.state));
  }

  int run() {
    require_other_devices();
    if (base_ && !chosen_.is_new_image()) require_same_target();
    std::optional<new_image> image;
    if (chosen_.is_new_image()) image.emplace(chosen_.target);
    const auto found =
        list_changes(line_, device_,
                     {.window = {since(), std::uint64_t{1} << 32},
                      .from = chosen_.metadata_snapshot ? source::snapshot : source::live,
                      .repair = chosen_.repair,
                      .given = chosen_.given,
                      .in_doubt = "blocks are copied"});
    if (!found) return exit_failure;
    const metadata& m = found->opened;
    require_same_size(m);
    if (base_) require_same_history(m);
    backup_state next = next_state(m);
    if (chosen_.metadata_snapshot) {
      pd::read_queue queue(device_.make_engine(), device_.nr_blocks());
      require_still_held(queue, device_, m);
    }
    steps_.metadata_was_read();
    if (!chosen_.bitmap.empty()) return mark(found->listed, m, next, *image);

    auto target = open_target(m, image);
    const auto start = std::chrono::steady_clock::now();
    const copied_blocks copied = copy(found->listed, m, *target);
    target.reset();
    if (image) {
      check_qcow2(image->temporary_path());
      image->commit();
    }
    next.unread = copied.unread;
    if (!chosen_.state.empty()) write(next);
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

  // Writing the backup must not change what it is made of.
  void require_other_devices() const {
    if (source_.overlaps(chosen_.target))
      throw pd::device_error(fmt::format(
          "{}: is the source itself, or lies on it; name another target", chosen_.target));
    if (device_.is_same_file(chosen_.target))
      throw pd::device_error(
          fmt::format("{}: is the metadata, or lies on it; name another target", chosen_.target));
    if (source_.overlaps(chosen_.metadata))
      throw pd::device_error(
          fmt::format("{}: is both the source and the metadata", chosen_.source));
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
    if (m.current_era.value < base_->current_era)
      fail_state(
          fmt::format("the current era was {}, and is {}", base_->current_era, m.current_era));
    if (const auto wrong = find_contradiction(
            base_->witnesses, {std::max(base_->current_era, base_->next_era)}, m, device_))
      fail_state(
          fmt::format("block {} was last written in era {}, and now in era {}, which had "
                      "ended by then: the metadata was made anew, or is another device's",
                      wrong->noted.block, wrong->noted.era, wrong->now));
  }

  // The first era that the backup may lack blocks of.
  std::optional<std::uint32_t> next_era(const metadata& m) const {
    const std::uint64_t current = m.current_era.value;
    if (!chosen_.next_era) {
      if (chosen_.metadata_snapshot) return {};
      return static_cast<std::uint32_t>(current + 1);
    }
    const std::uint64_t next = *chosen_.next_era;
    const std::uint64_t most = chosen_.metadata_snapshot ? current : current + 1;
    if (next > most)
      throw pd::invalid_input(fmt::format(
          "{}: era {} had not begun when this metadata was written, in era {}: what was written "
          "before the data's snapshot would be missing; take the metadata snapshot after it",
          device_.path(), next, current));
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
    next.current_era = m.current_era.value;
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

  std::unique_ptr<backup_target> open_target(const metadata& m, std::optional<new_image>& image) {
    if (image) return make_qcow2(m, *image);
    if (!chosen_.is_nbd())
      return open_raw_target(chosen_.target, {.bytes = source_.bytes(), .is_new = since() == 0});
    auto target = connect_nbd(chosen_.target);
    if (target->size() < source_.bytes())
      throw pd::device_error(fmt::format("{}: is too small: it has {} bytes, and the source has {}",
                                         target->name(), target->size(), source_.bytes()));
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
    line_.say(fmt::format(
        "{}: block{} cannot be read: {}", source_.path(),
        r.size() == 1 ? fmt::format(" {}", r.begin) : fmt::format("s {} to {}", r.begin, r.end - 1),
        std::strerror(error)));
  }

  void write(const backup_state& next) const {
    output out(chosen_.state);
    out.write(to_json(next));
    out.commit();
  }

  void report(const listed_blocks& listed, const metadata& m, const copied_blocks& copied,
              const backup_state& next, const std::string& done) const {
    std::uint64_t unread = 0;
    for (const origin_range& r : copied.unread) unread += r.size();
    if (unread > 0)
      line_.say(fmt::format("{}: {} of {} blocks could not be read, and the backup lacks them{}",
                            source_.path(), unread, copied.blocks,
                            chosen_.state.empty() ? "" : "; the next run copies them again"));
    const bool knows_next = next_era(m).has_value();
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
    if (!text.empty()) output("").write(text);
  }

  command_line& line_;
  const options& chosen_;
  const backup_steps steps_;
  const std::optional<backup_state> earlier_;
  const backup_state* base_ = nullptr;  // what this backup continues
  data_device source_;
  pd::block_device device_;
};

// The whole night: the device is suspended while the command takes a snapshot of its data, and its
// metadata snapshot is held until it was read.
int back_up_live_device(command_line& line, options chosen) {
  earlier_state(chosen);  // if it is wrong, nothing is suspended
  const interruption signals;
  live_device device(
      line, {.name = chosen.era_device,
             .journal = chosen.state + ".live",
             .command = {.shell = chosen.snapshot_command,
                         .time_limit = std::chrono::seconds(chosen.time_limit.value_or(60))},
             .wait_for = [&](int fd) { signals.wait_for(fd); }});
  chosen.metadata = device.metadata();
  chosen.metadata_snapshot = true;
  chosen.next_era = device.next_era().value;
  return backup(line, chosen,
                {.metadata_was_read = [&] { device.release(); },
                 .check_signals = [&] { signals.check(); }})
      .run();
}

void check(const options& chosen) {
  if (chosen.metadata.empty() && chosen.era_device.empty())
    throw pd::usage_error(
        "no metadata was named: --metadata, or --era-device for a device that is in use");
  if (!chosen.era_device.empty() && chosen.state.empty())
    throw pd::usage_error("--era-device needs --state: it remembers what a killed backup leaves");
  if (chosen.era_device.empty() != chosen.snapshot_command.empty())
    throw pd::usage_error(
        "--era-device and --snapshot-command need each other: the data is copied from a snapshot");
  const int given = (chosen.written_since ? 1 : 0) + (chosen.full ? 1 : 0);
  if (given == 0 && chosen.state.empty())
    throw pd::usage_error("nothing says since when: --written-since ERA, --full, or --state FILE");
  if (!chosen.bitmap.empty() && chosen.chosen_format == image_format::raw)
    throw pd::usage_error("--format raw cannot be: only a qcow2 image has bitmaps");
  if (!chosen.backing.empty() && !chosen.is_new_image())
    throw pd::usage_error("--backing has no effect without --format qcow2");
  if (chosen.is_nbd() && chosen.is_new_image())
    throw pd::usage_error(
        "an NBD server exports a plain image: --format qcow2 cannot be written to it");
  if (chosen.is_new_image() && chosen.bitmap.empty() && chosen.written_since.value_or(0) != 0 &&
      chosen.backing.empty())
    throw pd::usage_error(
        "changed blocks alone make no image: --backing names the one that they belong to");
  if (chosen.metadata_snapshot && !chosen.state.empty() && !chosen.next_era)
    throw pd::usage_error(
        "--state with --metadata-snapshot needs --next-era: the era that the status showed before "
        "the data's snapshot, plus one");
}

}  // namespace

int backup_command(int argc, char** argv) {
  command_line line(
      "era_backup", "Copies the blocks that were written since an era into a backup.",
      "[options] {--metadata {device|file} | --era-device NAME} --source {device|file} "
      "TARGET");
  options chosen;
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  auto& o = line.options();
  const auto metadata =
      o.add_text("--metadata", chosen.metadata, "{device|file}", "The metadata of dm-era");
  o.require(o.add_text("--source", chosen.source, "{device|file}",
                       "The data: the origin, not in use, or a snapshot of it"));
  const auto state =
      o.add_text("--state", chosen.state, "FILE",
                 "Continue the backup that FILE describes, and describe the new one there");
  const auto since = o.add_number("--written-since", chosen.written_since, {0, most}, "ERA",
                                  "Copy blocks that were written in this era or a later one");
  const auto full = o.add_flag("--full", chosen.full, "Copy all blocks");
  o.not_with(since, state);
  o.not_with(since, full);
  const auto snapshot = o.add_flag("--metadata-snapshot", chosen.metadata_snapshot,
                                   "Ask the metadata snapshot; the device may be live");
  const auto next = o.add_number("--next-era", chosen.next_era, {1, most}, "ERA",
                                 "The era that began after the source's data was frozen");
  const auto device = o.add_text("--era-device", chosen.era_device, "NAME",
                                 "Suspend this device, and take its snapshots; instead of the "
                                 "last three");
  o.add_text("--snapshot-command", chosen.snapshot_command, "COMMAND",
             "Takes the snapshot of the data, for --source, while the\ndevice is suspended");
  o.only_with(o.add_number("--time-limit", chosen.time_limit, {1, 86400}, "SECONDS",
                           "After which that command is ended (default: 60)"),
              device);
  for (const auto other : {metadata, snapshot, next}) o.not_with(device, other);
  const auto repair = o.add_flag("--repair", chosen.repair,
                                 "Copy blocks that damage hides, too, instead of nothing");
  const std::vector<std::pair<std::string, std::optional<image_format>>> formats{
      {"raw", image_format::raw}, {"qcow2", image_format::qcow2}};
  o.add_choice("--format", chosen.chosen_format, formats,
               "What the target is (default: qcow2 if its name ends so, or raw)");
  const auto backing =
      o.add_text("--backing", chosen.backing, "FILE",
                 "The image that a new one continues (default: the last one of the state)");
  const auto backing_format = o.add_choice("--backing-format", chosen.backing_format, formats,
                                           "What that is (default: as of the target)");
  const auto bitmap =
      o.add_text("--bitmap", chosen.bitmap, "NAME",
                 "Copy nothing; make an image of the source whose dirty bitmap\nNAME "
                 "has the changed blocks, for other backup programs");
  for (const auto other : {state, backing, device}) o.not_with(bitmap, other);
  o.not_with(full, backing);
  o.only_with(backing_format, backing);
  const auto keep_going =
      o.add_flag("--keep-going", chosen.keep_going, "Go on after blocks that cannot be read");
  const auto verify =
      o.add_flag("--verify", chosen.verify, "Read the copied blocks back, and compare them");
  for (const auto other : {keep_going, verify}) o.not_with(bitmap, other);
  o.add_flag("--json", chosen.json, "Print a summary as JSON");
  o.add_flag("-q,--quiet", chosen.quiet, "Print errors only");
  add_salvage_options(o, chosen.given, repair);
  line.add_argument("no target was named; it takes a file, a block device, or an NBD URI");
  return line.run(argc, argv, [&] {
    chosen.target = line.argument();
    check(chosen);
    if (!chosen.era_device.empty()) return back_up_live_device(line, chosen);
    return backup(line, chosen, {}).run();
  });
}

}  // namespace era
