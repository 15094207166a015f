// SPDX-License-Identifier: GPL-3.0-or-later
// The order of building, and what is refused.
#include "era/restore/restore.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "era/format/writeset.h"
#include "persistent-data/build/array_builder.h"
#include "persistent-data/build/btree_builder.h"
#include "persistent-data/build/space_map_builder.h"

namespace era {

using xml::rejected;

std::uint64_t blocks_needed(std::uint32_t nr_blocks, std::uint64_t nr_metadata_blocks) noexcept {
  constexpr std::uint64_t superblock_and_empty_writeset_tree = 2;
  return superblock_and_empty_writeset_tree + pd::array_space_for(nr_blocks, sizeof(pd::le32)) +
         pd::space_map_space_for(nr_metadata_blocks);
}

namespace {

// A bitset that is built from runs of bits which ascend.
class bitset_builder {
 public:
  explicit bitset_builder(pd::block_writer& writer) : words_(writer) {}

  void set(pd::range bits) {
    std::uint64_t at = bits.begin;
    while (at < bits.end) {
      skip_to_word(at / bits_per_word);
      const std::uint64_t low = at % bits_per_word;
      const std::uint64_t n = std::min(bits.end - at, bits_per_word - low);
      word_ |= (n == bits_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1) << low;
      at += n;
    }
  }

  pd::block_nr finish(std::uint32_t nr_bits) {
    skip_to_word(bitset_words(nr_bits));
    return words_.finish();
  }

 private:
  // word_ is the one that comes behind those in words_.
  void skip_to_word(std::uint64_t index) {
    if (index == words_.size()) return;
    words_.append(word_);
    words_.append(index - words_.size(), 0);
    word_ = 0;
  }

  pd::array_builder<pd::le64> words_;
  std::uint64_t word_ = 0;
};

std::string size_in_words(std::uint64_t blocks) {
  return fmt::format("{} bytes ({} metadata blocks)", blocks * pd::block_size, blocks);
}

}  // namespace

struct restorer::state {
  explicit state(restore_target t) : target(std::move(t)), writer(target.queue, target.nr_blocks) {}

  // What is still to come is added: the forecast is exact for what has been seen.
  void require_room(std::uint64_t more) const {
    const std::uint64_t have = std::min(target.nr_blocks, pd::max_metadata_blocks);
    const std::uint64_t tree = pd::btree_nodes_for(archived.size() + 1, sizeof(writeset_value));
    std::uint64_t need = writer.nr_used() + more + tree + pd::space_map_space_for(target.nr_blocks);
    if (!array_root && !array) need += pd::array_space_for(sb.nr_blocks, sizeof(pd::le32));
    if (need > have)
      throw rejected(
          fmt::format("the output is too small: it has {}, and what was read so far needs {}",
                      size_in_words(have), size_in_words(need)));
  }

  restore_target target;
  pd::block_writer writer;
  xml::superblock_element sb;
  std::uint64_t next_block = 0;  // of the list that is open

  std::optional<bitset_builder> bitset;
  era_nr writeset_era;
  std::uint32_t nr_bits = 0;
  std::vector<pd::btree_entry<writeset_value>> archived;

  std::optional<pd::array_builder<pd::le32>> array;
  std::optional<pd::block_nr> array_root;
};

restorer::restorer(restore_target target) : state_(std::make_unique<state>(std::move(target))) {}
restorer::~restorer() = default;

void restorer::begin_superblock(const xml::superblock_element& sb) {
  if (sb.block_size == 0 || sb.block_size % 8 != 0)
    throw rejected(fmt::format("block_size=\"{}\" cannot be; it is a multiple of 8 sectors above 0",
                               sb.block_size));
  if (sb.nr_blocks > max_origin_blocks)
    throw rejected(fmt::format("nr_blocks=\"{}\" is too large; it can be {}", sb.nr_blocks,
                               max_origin_blocks));
  state_->sb = sb;
  state_->require_room(0);
  state_->target.begin();
}

void restorer::begin_writeset(era_nr era, std::uint32_t nr_bits) {
  if (era.value == 0) throw rejected("era=\"0\" cannot be; the first era is 1");
  if (era > state_->sb.current_era)
    throw rejected(
        fmt::format("era=\"{}\" is past the current era {}", era, state_->sb.current_era));
  if (nr_bits > max_origin_blocks)
    throw rejected(
        fmt::format("nr_bits=\"{}\" is too large; it can be {}", nr_bits, max_origin_blocks));
  for (const auto& other : state_->archived)
    if (other.key == era.value)
      throw rejected(fmt::format("there are two writesets of era {}", era));
  state_->require_room(pd::array_space_for(bitset_words(nr_bits), sizeof(pd::le64)));
  state_->writeset_era = era;
  state_->nr_bits = nr_bits;
  state_->next_block = 0;
  state_->bitset.emplace(state_->writer);
}

namespace {

// Lists ascend, name no block twice and end where the device does.
void advance(std::uint64_t& next, pd::range blocks, std::uint64_t end, const char* what) {
  if (blocks.begin < next) {
    if (blocks.begin + 1 == next)
      throw rejected(fmt::format("block {} is listed twice", blocks.begin));
    throw rejected(
        fmt::format("block {} comes after block {}; blocks must ascend", blocks.begin, next - 1));
  }
  if (blocks.end > end)
    throw rejected(fmt::format("block {} is past the end; {} {}", blocks.end - 1, what, end));
  next = blocks.end;
}

}  // namespace

void restorer::bits(pd::range blocks, bool value) {
  advance(state_->next_block, blocks, state_->nr_bits, "the writeset's nr_bits is");
  if (value) state_->bitset->set(blocks);
}

void restorer::end_writeset() {
  const pd::block_nr root = state_->bitset->finish(state_->nr_bits);
  state_->archived.push_back({state_->writeset_era.value, {state_->nr_bits, root.value}});
  state_->bitset.reset();
}

void restorer::begin_era_array() {
  if (state_->array_root) throw rejected("there are two era arrays");
  state_->next_block = 0;
  state_->array.emplace(state_->writer);
}

void restorer::eras(pd::range blocks, era_nr era) {
  const std::uint64_t expected = state_->next_block;
  advance(state_->next_block, blocks, state_->sb.nr_blocks, "nr_blocks is");
  if (blocks.begin != expected)
    throw rejected(fmt::format("block {} is missing before block {}; every block needs its era",
                               expected, blocks.begin));
  if (era > state_->sb.current_era)
    throw rejected(
        fmt::format("era=\"{}\" is past the current era {}", era, state_->sb.current_era));
  state_->array->append(blocks.size(), era.value);
}

void restorer::end_era_array() {
  if (state_->next_block != state_->sb.nr_blocks)
    throw rejected(fmt::format("blocks {} to {} are missing; every block needs its era",
                               state_->next_block, state_->sb.nr_blocks - 1));
  state_->array_root = state_->array->finish();
  state_->array.reset();
}

void restorer::end_superblock() {
  if (!state_->array_root) throw rejected("there is no era_array");
  auto& archived = state_->archived;
  std::sort(archived.begin(), archived.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  pd::block b{};
  auto& sb = b.as<superblock>();
  sb.magic = superblock_magic;
  sb.version = superblock_version;
  sb.data_block_size = state_->sb.block_size;
  sb.metadata_block_size = sectors_per_metadata_block;
  sb.nr_blocks = state_->sb.nr_blocks;
  sb.current_era = state_->sb.current_era.value;
  sb.era_array_root = state_->array_root->value;
  sb.writeset_tree_root = pd::build_btree<writeset_value>(state_->writer, archived).value;
  sb.space_map = pd::build_space_map(state_->writer);
  state_->target.queue.drain_and_flush();
  pd::seal(superblock_kind, b, superblock_location);
  state_->target.queue.write(superblock_location, b);
  state_->target.queue.drain_and_flush();
}

}  // namespace era
