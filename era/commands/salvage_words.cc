// SPDX-License-Identifier: GPL-3.0-or-later
// See salvage_words.h.
#include "era/commands/salvage_words.h"

#include <utility>

#include "era/commands/finding_text.h"

namespace era {

void add_salvage_options(CLI::App& app, salvage_wishes& wishes, CLI::Option* repair) {
  const CLI::Validator multiple_of_8(
      [](const std::string& text) {
        std::uint32_t value = 0;
        const bool good = CLI::detail::lexical_cast(text, value) && value != 0 && value % 8 == 0;
        return good ? "" : "it is a multiple of 8 above 0, not " + text;
      },
      "");
  auto* block_size = app.add_option("--block-size", wishes.block_size,
                                    "Sectors of an origin block, where the superblock is lost")
                         ->check(multiple_of_8)
                         ->option_text("SECTORS");
  auto* nr_blocks = app.add_option("--nr-blocks", wishes.nr_blocks,
                                   "Blocks of the origin, where that is lost or in doubt")
                        ->check(CLI::Range(std::uint32_t{0}, max_origin_blocks))
                        ->option_text("N");
  auto* current_era = app.add_option("--current-era", wishes.current_era,
                                     "The current era, where it is newer than what is found")
                          ->check(CLI::Range(std::uint32_t{0}, max_plausible_era))
                          ->option_text("ERA");
  if (repair)
    for (CLI::Option* option : {block_size, nr_blocks, current_era}) option->needs(repair);
}

salvage_words::salvage_words(const command_line& line, const pd::block_device& device, bool quiet)
    : line_(line), device_(device), quiet_(quiet), groups_([this](const finding& f) {
        if (!quiet_) line_.say(in_words(device_.path(), f));
      }) {
  report_.damage = [this](finding f) {
    anything_ = true;
    groups_.add(std::move(f));
  };
  report_.assumption = [this](const std::string& text) {
    anything_ = true;
    groups_.flush();
    say("assumed: " + text);
  };
}

void salvage_words::say(const std::string& text) const {
  if (!quiet_) line_.say(fmt::format("{}: {}", device_.path(), text));
}

salvaged salvage_words::salvage(const salvage_wishes& wishes, const std::function<void()>& step) {
  try {
    salvaged saved = salvage_metadata(device_, wishes, report_, step);
    groups_.flush();
    return saved;
  } catch (const std::exception&) {
    groups_.flush();
    throw;
  }
}

void salvage_words::sum_up(const salvaged& s) const {
  if (quiet_) return;
  if (!anything_) return say("nothing is wrong, and nothing had to be assumed");
  const std::uint64_t assumed = count_assumed(s, device_);
  if (assumed == 0) return say("the era of every origin block is known");
  say(
      fmt::format("{} of {} origin blocks are marked as written only because it is unknown when "
                  "they were",
                  assumed, s.nr_blocks));
}

}  // namespace era
