// SPDX-License-Identifier: GPL-3.0-or-later
// The commands make it, in this process.
#include "functional-tests/kernel/made_metadata.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"

namespace era::test {
namespace {

void must_succeed(const command_result& result) {
  if (result.status != 0) throw std::runtime_error(result.err);
}

std::string random_script(scenario& s, std::uint32_t nr_blocks, std::uint64_t eras, bool may_snap) {
  std::string script;
  for (std::uint64_t era = 0; era < eras; ++era) {
    for (std::uint64_t i = s.below(4); i > 0; --i) {
      const std::uint64_t begin = s.below(nr_blocks);
      const std::uint64_t size = 1 + s.below(std::min<std::uint64_t>(nr_blocks - begin, 200));
      script += fmt::format("write {} {}\n", begin * block_size, size * block_size);
    }
    if (may_snap && s.one_in(2)) {
      script += "message take_metadata_snap\n";
      may_snap = false;
    } else {
      script += "message checkpoint\n";
    }
    if (s.one_in(3)) script += fmt::format("digest {}\n", 1 + s.below(3));
  }
  return script;
}

}  // namespace

void simulate(const file_of_metadata& metadata, std::uint32_t nr_blocks,
              const std::string& script) {
  std::ofstream(metadata.beside(".in")) << script;
  must_succeed(run_command(
      sim_command, {"--metadata", metadata.path(), "--size", std::to_string(nr_blocks * block_size),
                    "--block-size", std::to_string(block_size), "--digest", "manual", "--script",
                    metadata.beside(".in")}));
}

std::string many_eras(std::uint32_t nr_blocks, std::uint64_t eras) {
  std::string script;
  for (std::uint64_t i = 0; i < eras; ++i)
    script +=
        fmt::format("write {} {}\nmessage checkpoint\n", i % nr_blocks * block_size, block_size);
  return script;
}

std::uint32_t make_metadata(scenario& s, unsigned way, const file_of_metadata& file) {
  const std::uint32_t nr_blocks = way % 6 == 4 ? 32576 * 3 : s.size();
  // 201 writesets fit into a leaf of their tree.
  const std::uint64_t eras = s.one_in(4) ? 250 : 1 + s.below(20);
  std::string script = random_script(s, nr_blocks, eras, s.one_in(2));
  if (way % 2 == 0) script += fmt::format("write {} {}\ncrash\n", 0, block_size);
  switch (way % 3) {
    case 0: simulate(file, nr_blocks, script); break;
    case 1: {  // restored
      const file_of_metadata from(roomy_metadata);
      simulate(from, nr_blocks, script);
      must_succeed(run_command(dump_command, {"-o", file.beside(".xml"), from.path()}));
      must_succeed(run_command(restore_command, {"-i", file.beside(".xml"), "-o", file.path()}));
      break;
    }
    case 2: {  // repaired: a block of the metadata, or its superblock, is lost
      const file_of_metadata from(roomy_metadata);
      simulate(from, nr_blocks, script);
      std::fstream damaged(from.path(), std::ios::in | std::ios::out | std::ios::binary);
      damaged.seekp(static_cast<std::streamoff>(4096 * (s.one_in(3) ? 0 : s.below(12)) + 100));
      damaged << "damage";
      damaged.close();
      must_succeed(run_command(
          repair_command, {"-q", "-i", from.path(), "-o", file.path(), "--block-size",
                           std::to_string(block_size), "--nr-blocks", std::to_string(nr_blocks)}));
      break;
    }
  }
  return nr_blocks;
}

}  // namespace era::test
