// SPDX-License-Identifier: GPL-3.0-or-later
// Runs scripts and traces in the simulator. The metadata must be clean after every one of them. The
// first byte chooses between a script and a trace, and whether digestion is automatic.
#include <algorithm>
#include <string_view>

#include "era/sim/origin.h"
#include "era/sim/script.h"
#include "era/sim/simulation.h"
#include "era/sim/trace.h"
#include "era/testing/round_trip.h"
#include "fuzz/edits.h"
#include "persistent-data/testing/recording_store.h"

namespace era::fuzz {
namespace {

// Ends commands that would take too long.
struct enough {};

void run(sim::simulation& simulation, std::string_view text, bool is_trace) {
  sim::trace_reader reader;
  for (int lines = 0; !text.empty() && lines < 300; ++lines) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    try {
      if (is_trace) {
        if (const auto request = reader.read(line)) simulation.replay(*request, {});
        continue;
      }
      sim::take_refusal_mark(line);
      const auto command = sim::parse(line);
      if (command && !simulation.run(*command)) return;
    } catch (const pd::error&) {
      // The next line, as at a terminal.
    }
  }
  simulation.remove();
}

}  // namespace
}  // namespace era::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  if (size == 0) return 0;
  static pd::test::scratch_device device(128);
  for (std::uint64_t b = 0; b < device.nr_blocks(); ++b) device[{b}] = pd::block{};
  pd::test::recording_store store(device);
  era::sim::no_origin origin;
  std::uint64_t reports = 0;
  const bool is_trace = (data[0] & 1) != 0;
  using digestion = era::sim::digestion_mode;
  const era::sim::simulation_options options{
      .metadata = "metadata",
      .origin = "origin",
      .origin_sectors = std::nullopt,
      .digestion = (data[0] & 2) != 0 ? digestion::automatic : digestion::manual,
      .progress = [&](auto, auto) {
        if (++reports > 3000) throw enough();
      }};
  try {
    era::sim::simulation simulation(store, origin, {8, 40'000}, options);
    run(simulation, {reinterpret_cast<const char*>(data + 1), size - 1}, is_trace);
  } catch (const enough&) {
  } catch (const pd::error&) {
  }
  if (pd::is_zero(device[{0}])) return 0;
  const std::string wrong = era::test::findings_in(device.path());
  if (!wrong.empty()) fail("is not clean: " + wrong);
  return 0;
}
