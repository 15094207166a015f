// SPDX-License-Identifier: GPL-3.0-or-later
// Damage of every kind: bits, whole blocks, and what blocks of different kinds have in common.
#include "era/testing/mutations.h"

#include <algorithm>
#include <cassert>
#include <set>

#include "era/format/superblock.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/checksum.h"

namespace era::test {

sweep_subject make_subject(std::span<const pd::block> metadata, const used_blocks& roles) {
  sweep_subject subject{metadata, roles, {}};
  // Free blocks that hold what they held before they were freed look the most like used ones.
  std::set<std::uint32_t> salts;
  for (std::uint64_t b = 1; b < metadata.size(); ++b) {
    if (roles.contains(b)) continue;
    const auto covered = std::span(metadata[b].bytes).subspan(sizeof(pd::le32));
    if (salts.insert(pd::crc32c(covered) ^ metadata[b].as<pd::le32>()).second)
      subject.free.push_back(b);
    if (salts.size() == 6) break;
  }
  return subject;
}

void mutate(const sweep_subject& subject, std::uint64_t block, std::mt19937& random,
            const mutation_visitor& visit) {
  mutator cases(subject, block, visit);
  cases.at_random(random);
  cases.fields();
}

mutator::mutator(const sweep_subject& subject, std::uint64_t block, mutation_visitor visit)
    : subject_(subject),
      nr_(block),
      use_(subject.roles.at(block)),
      original_(subject.metadata[block]),
      visit_(std::move(visit)) {}

void mutator::emit(mutation m, const pd::block& content) {
  if (content.bytes == original_.bytes) return;
  m.content = content;
  m.dump_refuses = m.dump_refuses && is_dumped();
  visit_(m);
}

void mutator::destroy(std::string_view kind, std::string detail, const pd::block& content) {
  emit({kind, std::move(detail), expectation::error, true, true, true, {}}, content);
}

// Is it of what a dump of the live metadata reads?
bool mutator::is_dumped() const {
  switch (use_.what) {
    case role::snapshot_superblock:
    case role::count_node:
    case role::index:
    case role::bitmap: return false;
    case role::superblock:
    case role::writeset_node:
    case role::era_node:
    case role::bitset_node:
    case role::era_block:
    case role::bitset_block: return use_.live;
  }
  return false;
}

void mutator::emit_prepared(std::string_view kind, std::string detail, const change& how,
                            options o) {
  // If there are hundreds of array blocks, each takes its turn at a third of the cases.
  const bool one_of_many = subject_.roles.size() > 100 &&
                           (use_.what == role::era_block || use_.what == role::bitset_block);
  if (one_of_many && field_cases_++ % 3 != nr_ % 3) return;
  pd::block b = original_;
  how(b);
  pd::prepare_for_write(kind_of(use_.what), b, {nr_});
  emit({kind, std::move(detail), o.expected, o.in_snapshot_alone, o.dump_refuses, false, {}}, b);
}

std::uint64_t mutator::get32(std::size_t offset) const {
  pd::le32 value;
  std::memcpy(&value, &original_.bytes[offset], sizeof value);
  return value;
}

std::uint64_t mutator::get64(std::size_t offset) const {
  pd::le64 value;
  std::memcpy(&value, &original_.bytes[offset], sizeof value);
  return value;
}

// Values are taken modulo 2^32, so that n - 1 of 0 is a case, too.
void mutator::set32(std::string_view kind, std::size_t offset,
                    std::initializer_list<std::uint64_t> values, options o) {
  std::set<std::uint32_t> seen;
  for (const std::uint64_t wide : values) {
    const auto value = static_cast<std::uint32_t>(wide);
    if (!seen.insert(value).second) continue;
    const auto set = [&](pd::block& b) {
      const pd::le32 field = value;
      std::memcpy(&b.bytes[offset], &field, sizeof field);
    };
    emit_prepared(kind, fmt::format("at byte {}: {}, was {}", offset, value, get32(offset)), set,
                  o);
  }
}

void mutator::set64(std::string_view kind, std::size_t offset,
                    std::initializer_list<std::uint64_t> values, options o) {
  for (const std::uint64_t value : std::set<std::uint64_t>(values)) {
    const auto set = [&](pd::block& b) {
      const pd::le64 field = value;
      std::memcpy(&b.bytes[offset], &field, sizeof field);
    };
    emit_prepared(kind, fmt::format("at byte {}: {}, was {}", offset, value, get64(offset)), set,
                  o);
  }
}

void mutator::at_random(std::mt19937& random) {
  const auto below = [&](std::uint64_t n) {
    return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random);
  };
  // The checksum, the place, the header and the rest have a bit each; then any.
  for (const auto& [first, end] :
       {std::pair{0u, 4u}, {4u, 24u}, {24u, 48u}, {48u, 4096u}, {0u, 4096u}}) {
    const std::uint64_t byte = first + below(end - first), bit = below(8);
    pd::block b = original_;
    b.bytes[byte] ^= static_cast<std::byte>(1u << bit);
    destroy("bit flip", fmt::format("bit {} of byte {}", bit, byte), b);
  }
  pd::block b;
  b.bytes.fill(std::byte{0});
  destroy("zeros", "all of it", b);

  // Another block's content: of the same use if there is one, and of another.
  for (const bool same : {true, false}) {
    std::vector<std::uint64_t> others;
    for (const auto& [nr, use] : subject_.roles)
      if (nr != nr_ && (use.what == use_.what) == same) others.push_back(nr);
    if (others.empty()) continue;
    const std::uint64_t from = others[below(others.size())];
    destroy("other content", fmt::format("that of block {}", from), subject_.metadata[from]);
  }
}

void mutator::fields() {
  location();
  switch (use_.what) {
    case role::superblock:
    case role::snapshot_superblock: return superblock_fields();
    case role::era_block:
    case role::bitset_block: return array_fields();
    case role::index: return index_fields();
    case role::bitmap: return bitmap_fields();
    case role::writeset_node:
    case role::era_node:
    case role::bitset_node:
    case role::count_node: return node_fields();
  }
}

// Prepared for another place, as a misdirected write leaves it.
void mutator::location() {
  for (const std::uint64_t nr : {nr_ + 1, std::uint64_t{1} << 63}) {
    pd::block b = original_;
    pd::prepare_for_write(kind_of(use_.what), b, {nr});
    destroy("wrong place", fmt::format("written for block {}", nr), b);
  }
}

void mutator::pointer(std::string_view kind, std::size_t offset, role to, bool briefly) {
  const std::uint64_t was = get64(offset), end = subject_.metadata.size();
  std::set<std::uint64_t> seen{was};
  // A dump does not have the space map and the snapshot of the superblock.
  const bool dumped = to == role::writeset_node || to == role::era_node ||
                      to == role::bitset_node || to == role::era_block || to == role::bitset_block;
  const auto point = [&](std::uint64_t value, std::string_view what, bool in_snapshot_alone = true,
                         bool dump_refuses = true) {
    if (!seen.insert(value).second) return;
    const auto set = [&](pd::block& b) {
      const pd::le64 field = value;
      std::memcpy(&b.bytes[offset], &field, sizeof field);
    };
    emit_prepared(kind, fmt::format("at byte {}: {} ({}), was {}", offset, value, what, was), set,
                  {expectation::error, in_snapshot_alone, dumped && dump_refuses});
  };
  // No pointer means that there is none of these: legal, and the rest is unreachable.
  const bool may_be_none =
      use_.what == role::superblock &&
      (to == role::snapshot_superblock || offset == offsetof(superblock, current_root));
  if (may_be_none)
    set64(kind, offset, {0}, {expectation::leak, false, false}), seen.insert(0);
  else
    point(0, "the superblock");
  point(nr_, "itself");
  point(end, "the device's end");
  if (!briefly) point(use_.parent, "its parent");
  point(std::uint64_t{1} << 63, "2^63");
  point(~std::uint64_t{0}, "2^64-1");

  if (briefly) return;
  // One block of each other use, and one of the same use. A dump notices the one of the same use
  // only if the block is the dump's own; to notice the others, references have to be counted.
  std::set<std::pair<role, bool>> uses;
  for (const auto& [nr, use] : subject_.roles)
    if (nr != was && uses.emplace(use.what, use.live).second)
      point(nr, name(use.what), use.what != to, use.what != to || use.live);
  for (const std::uint64_t nr : subject_.free) point(nr, "a free block", false, false);
}

std::uint64_t mutator::highest_known_era(bool in_snapshot) const {
  std::uint64_t highest = 0;
  for (const auto& [nr, use] : subject_.roles) {
    if (!(in_snapshot ? use.in_snapshot : use.live)) continue;
    if (use.what == role::era_block)
      for (const std::uint32_t era : pd::array_values<pd::le32>(subject_.metadata[nr]))
        highest = std::max<std::uint64_t>(highest, era);
    if (use.what == role::writeset_node) {
      const pd::node_view node(subject_.metadata[nr]);
      if (node.is_leaf() && node.size() > 0) highest = std::max(highest, node.key(node.size() - 1));
    }
  }
  return highest;
}

}  // namespace era::test
