// SPDX-License-Identifier: GPL-3.0-or-later
// Whole metadata for tests, laid out block after block from a description, with exact reference
// counts: of any size, with any writesets, as the kernel would leave it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "era/format/superblock.h"

namespace era::test {

struct writeset_description {
  std::uint32_t era = 0;
  std::uint32_t nr_bits = 0;
  std::function<bool(std::uint64_t)> is_set = [](std::uint64_t) { return false; };
};

struct metadata_description {
  std::uint32_t nr_blocks = 0;
  std::uint32_t current_era = 1;
  std::uint32_t data_block_size = 128;
  std::function<std::uint32_t(std::uint64_t)> era_of = [](std::uint64_t) { return 0u; };
  std::vector<writeset_description> archived;   // ascending by era
  std::optional<writeset_description> current;  // under current_era
  std::uint64_t spare_blocks = 16;              // free metadata blocks after those in use
};

// A file in memory that lives as long as this.
class built_metadata {
 public:
  explicit built_metadata(const metadata_description&);
  ~built_metadata();
  built_metadata(const built_metadata&) = delete;
  built_metadata& operator=(const built_metadata&) = delete;

  // A path to open it by.
  const std::string& path() const noexcept { return path_; }

  // Changes a block. The caller prepares it for writing if its checksum is to be right.
  pd::block read(pd::block_nr) const;
  void write(pd::block_nr, const pd::block&);
  superblock read_superblock() const;

 private:
  int fd_;
  std::string path_;
};

// Changes a block and makes its checksum right again.
template <class Change>
void change(built_metadata& m, const pd::block_kind& kind, std::uint64_t where, Change how) {
  pd::block b = m.read({where});
  how(b);
  pd::prepare_for_write(kind, b, {where});
  m.write({where}, b);
}

// Makes a metadata snapshot: a copy of the superblock, in the first block that is not in use.
// Shares the trees without counting that. Returns its place.
pd::block_nr hold_snapshot(built_metadata&);
void drop_snapshot(built_metadata&);

}  // namespace era::test
