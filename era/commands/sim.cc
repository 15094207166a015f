// SPDX-License-Identifier: GPL-3.0-or-later
// era_sim: the target in user space, driven by a script, a trace or a terminal.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <optional>

#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/output.h"
#include "era/restore/restore.h"
#include "era/sim/origin.h"
#include "era/sim/simulation.h"
#include "persistent-data/io/output_device.h"

namespace era {
namespace {

struct options {
  std::string metadata, origin, script, trace, size, create, era_every;
  std::optional<std::uint32_t> block_size;
  sim::simulation::digestion digestion = sim::simulation::digestion::automatic;
};

// A line that cannot be done. The message has the file and the line.
class bad_line : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void create_metadata(const std::string& path, const std::string& size) {
  const std::uint64_t sectors = sim::parse_sectors(size);
  constexpr std::uint64_t most = pd::max_metadata_blocks * sectors_per_metadata_block;
  if (sectors > most)
    throw pd::device_error(fmt::format(
        "{}: metadata of {} sectors cannot be made; {} are used at most", path, sectors, most));
  const std::uint64_t bytes = sectors * 512;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST)
    throw pd::device_error(
        fmt::format("{}: is there already; remove it, or use it without --create-metadata", path));
  const bool made = fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!made)
    throw pd::device_error(fmt::format("{}: cannot be made: {}", path, std::strerror(error)));
}

// What the metadata says of its origin; nothing where it is not formatted.
std::optional<superblock> look(pd::block_store& metadata) {
  pd::block first;
  metadata.read(superblock_location, first);
  if (verify_superblock(first, superblock_location)) return {};
  return first.as<superblock>();
}

class simulator {
 public:
  simulator(const command_line& line, const options& chosen) : line_(line), chosen_(chosen) {
    if (!chosen.era_every.empty()) every_ = sim::parse_era_length(chosen.era_every);
    if (chosen.create.empty()) {
      start();
      return;
    }
    create_metadata(chosen.metadata, chosen.create);
    try {
      start();
    } catch (...) {
      ::unlink(chosen.metadata.c_str());
      throw;
    }
  }

  int run() {
    const auto start = std::chrono::steady_clock::now();
    bool crashed = false;
    try {
      crashed = !(chosen_.trace.empty() ? run_commands() : replay());
    } catch (const bad_line& e) {
      line_.say(e.what());
      simulation_->leave();
      return exit_failure;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (crashed) {
      line_.say("stopped as if the power was cut");
      return exit_success;
    }
    simulation_->remove();
    line_.say(simulation_->summary(took.count()));
    return exit_success;
  }

 private:
  void start() {
    device_.emplace(chosen_.metadata, 1024, line_.engine());
    store_ = device_->make_store();
    if (chosen_.origin.empty())
      origin_ = std::make_unique<sim::no_origin>();
    else
      open_origin();
    const target::geometry geometry = find_geometry();
    simulation_.emplace(*store_, *origin_, geometry,
                        sim::simulation_surroundings{chosen_.metadata,
                                                     chosen_.origin.empty() ? "-" : chosen_.origin,
                                                     origin_sectors_, [this] { signals_.check(); }},
                        chosen_.digestion, [this](std::string_view text) { out_.write(text); });
  }

  void open_origin() {
    if (pd::block_device(chosen_.metadata, pd::access::shared).is_same_file(chosen_.origin))
      throw pd::device_error(
          fmt::format("{}: is the metadata, and cannot be the origin, too", chosen_.origin));
    auto file = std::make_unique<sim::file_origin>(chosen_.origin);
    origin_sectors_ = file->sectors();
    origin_ = std::move(file);
  }

  target::geometry find_geometry() const {
    const auto sb = look(*store_);
    target::geometry g{chosen_.block_size.value_or(sb ? std::uint32_t{sb->data_block_size} : 128),
                       0};
    if (!chosen_.size.empty())
      g.length = sim::parse_sectors(chosen_.size);
    else if (origin_sectors_)
      g.length = *origin_sectors_;
    else if (sb && sb->nr_blocks != 0)
      g.length = std::uint64_t{sb->nr_blocks} * g.block_size;
    else
      throw pd::device_error(fmt::format(
          "{}: is not formatted; give the size of the device with --size", chosen_.metadata));
    require_room(g);
    return g;
  }

  void require_room(const target::geometry& g) const {
    if (g.block_size == 0) return;
    const std::uint64_t blocks = g.length / g.block_size + (g.length % g.block_size != 0);
    if (blocks > max_origin_blocks) return;  // the target says so
    const auto nr_blocks = static_cast<std::uint32_t>(blocks);
    if (blocks_needed(nr_blocks, store_->nr_blocks()) <= store_->nr_blocks()) return;
    const std::uint64_t suggested = blocks_suggested(nr_blocks);
    throw pd::device_error(fmt::format(
        "{}: is too small for {} origin blocks: it has {} metadata blocks; {}", chosen_.metadata,
        nr_blocks, store_->nr_blocks(),
        chosen_.create.empty()
            ? pd::how_to_enlarge(chosen_.metadata, device_->is_block_device(), suggested)
            : fmt::format("use --create-metadata {}M", suggested * pd::block_size >> 20)));
  }

  // False: it was a crash.
  bool run_commands() {
    if (chosen_.script.empty() && ::isatty(STDIN_FILENO) == 1) return talk();
    const bool from_stdin = chosen_.script.empty() || chosen_.script == "-";
    return each_line(from_stdin ? "-" : chosen_.script, [&](std::string_view text) {
      const auto c = sim::parse(text);
      return !c || simulation_->run(*c);
    });
  }

  bool replay() {
    sim::trace_reader reader;
    return each_line(chosen_.trace, [&](std::string_view text) {
      if (const auto request = reader.read(text)) simulation_->replay(*request, every_);
      return true;
    });
  }

  // Until the work says no. Errors get the file's name and the line's number.
  template <class Work>
  bool each_line(const std::string& path, Work work) {
    std::ifstream file;
    if (path != "-") {
      file.open(path);
      if (!file) throw pd::device_error(fmt::format("{}: {}", path, std::strerror(errno)));
    }
    std::istream& in = path == "-" ? std::cin : file;
    std::string text;
    for (std::uint64_t number = 1; next_line(in, text); ++number) {
      try {
        if (!work(text)) return false;
      } catch (const closed_pipe&) {
        throw;
      } catch (const interrupted&) {
        throw;
      } catch (const std::exception& e) {
        throw bad_line(
            fmt::format("{}:{}: {}", path == "-" ? "standard input" : path, number, e.what()));
      }
    }
    if (in.bad()) throw pd::device_error(fmt::format("{}: cannot be read", path));
    return true;
  }

  // Signals wait until they are asked for: so does a line that has not come yet.
  bool next_line(std::istream& in, std::string& text) {
    signals_.check();
    if (&in == &std::cin && in.rdbuf()->in_avail() <= 0) signals_.wait_for(STDIN_FILENO);
    return static_cast<bool>(std::getline(in, text));
  }

  // With somebody at a terminal, a mistake is no end.
  bool talk() {
    std::string text;
    while (true) {
      out_.write("era> ");
      if (!next_line(std::cin, text)) {
        out_.write("\n");
        return true;
      }
      try {
        const auto c = sim::parse(text);
        if (c && !simulation_->run(*c)) return false;
      } catch (const closed_pipe&) {
        throw;
      } catch (const interrupted&) {
        throw;
      } catch (const std::exception& e) {
        line_.say(e.what());
      }
    }
  }

  const command_line& line_;
  const options& chosen_;
  const interruption signals_;
  sim::era_length every_;
  output out_{""};
  std::optional<pd::output_device> device_;
  std::unique_ptr<pd::block_store> store_;
  std::unique_ptr<origin_device> origin_;
  std::optional<std::uint64_t> origin_sectors_;
  std::optional<sim::simulation> simulation_;
};

}  // namespace

int sim_command(int argc, char** argv) {
  command_line line("era_sim", "Simulates a dm-era device: by a script, a trace or by hand.",
                    "[options] --metadata {device|file}");
  options chosen;
  auto& o = line.options();
  o.require(o.add_text("--metadata", chosen.metadata, "{device|file}",
                       "The metadata device, or an existing file"));
  o.add_text("--create-metadata", chosen.create, "SIZE", "Make the file first, of this size");
  o.add_text("--origin", chosen.origin, "{device|file}", "Where data goes; without it, nowhere");
  o.add_number("--block-size", chosen.block_size, {8, 0xffffffff, 8}, "SECTORS",
               "Sectors of a block (default: as the metadata says, or 128)");
  o.add_text("--size", chosen.size, "SIZE", "Size of the device: sectors, or 1G and the like");
  const auto script =
      o.add_text("--script", chosen.script, "FILE", "Commands; - for standard input");
  const auto trace =
      o.add_text("--trace", chosen.trace, "FILE", "Replay blkparse's text or a fio iolog");
  o.not_with(trace, script);
  o.only_with(o.add_text("--era-every", chosen.era_every, "N{s|writes|blocks}",
                         "End an era of the trace after so much: 60s, 1000writes, 500blocks"),
              trace);
  o.add_choice<sim::simulation::digestion>("--digest", chosen.digestion,
                                           {{"auto", sim::simulation::digestion::automatic},
                                            {"manual", sim::simulation::digestion::manual}},
                                           "Digest by itself, or by command (default: auto)");
  line.add_io_engine();
  return line.run(argc, argv, [&] { return simulator(line, chosen).run(); });
}

}  // namespace era
