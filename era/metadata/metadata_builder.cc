// SPDX-License-Identifier: GPL-3.0-or-later
// The order of building, and what is refused.
#include "era/metadata/metadata_builder.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "era/format/writeset.h"
#include "era/metadata/content.h"
#include "era/metadata/metadata.h"
#include "era/metadata/order.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/output_device.h"
#include "persistent-data/write/array_builder.h"
#include "persistent-data/write/bitset_builder.h"
#include "persistent-data/write/btree_builder.h"
#include "persistent-data/write/space_map_builder.h"

namespace era {

using pd::invalid_input;

namespace {

// Runs are built in pieces of this many blocks, with a call of progress before each.
constexpr std::uint64_t blocks_per_piece = 1 << 20;

std::uint64_t array_space(std::uint32_t nr_blocks) {
  return pd::array_space_for(nr_blocks, sizeof(pd::le32));
}

std::uint64_t bitset_space(std::uint32_t nr_bits) {
  return pd::array_space_for(bitset_words(nr_bits), sizeof(pd::le64));
}

std::uint64_t tree_space(std::uint64_t writesets) {
  return pd::btree_nodes_for(writesets, sizeof(writeset_value));
}

std::string in_words(std::uint64_t blocks) {
  return fmt::format("{} metadata blocks ({} bytes)", blocks, blocks * pd::block_size);
}

// The position in a list of blocks: they ascend, none comes twice, and they end at end.
class list_position {
 public:
  list_position() = default;
  // end_name: whose value end is, for messages.
  list_position(std::uint64_t end, const char* end_name) : end_(end), end_name_(end_name) {}

  // The first block that has not been listed or passed over.
  std::uint64_t next() const noexcept { return last_.end; }

  // Throws invalid_input unless the list can go on with these blocks.
  void require(origin_range blocks) const {
    if (blocks.begin < last_.end) not_ascending(blocks.begin);
    if (blocks.end > end_)
      throw pd::invalid_input(fmt::format("block {} is past the end; {} is {}",
                                          std::max(blocks.begin, end_), end_name_, end_));
  }

  // Requires it, and goes on.
  void advance(origin_range blocks) {
    require(blocks);
    last_ = blocks;
  }

 private:
  [[noreturn]] void not_ascending(std::uint64_t block) const {
    if (block >= last_.begin)
      throw pd::invalid_input(fmt::format("block {} is listed twice", block));
    throw pd::invalid_input(
        fmt::format("block {} comes after block {}; blocks must ascend", block, last_.end - 1));
  }

  origin_range last_;
  std::uint64_t end_ = 0;
  const char* end_name_ = "";
};

}  // namespace

std::uint64_t blocks_needed(std::uint32_t nr_blocks, std::uint64_t nr_metadata_blocks) noexcept {
  constexpr std::uint64_t superblock = 1;
  return superblock + array_space(nr_blocks) + tree_space(0) +
         pd::space_map_space_for(nr_metadata_blocks);
}

std::uint64_t blocks_suggested(std::uint32_t nr_blocks) noexcept {
  constexpr std::uint64_t writesets = 4, mebibyte = 256;
  const std::uint64_t content = array_space(nr_blocks) + writesets * bitset_space(nr_blocks);
  const std::uint64_t all = 2 * content + blocks_needed(0, 2 * content);
  return std::min(pd::divide_up(all, mebibyte) * mebibyte, pd::max_metadata_blocks);
}

struct metadata_builder::state {
  state(open_target o, pd::progress_function p) : open(std::move(o)), progress(std::move(p)) {}

  // With what was written so far, what is still to come for certain, and more blocks of what.
  void require_room(std::uint64_t more, const std::string& what) const {
    const std::uint64_t have = writer->nr_blocks();
    std::uint64_t need = writer->nr_used() + more + pd::space_map_space_for(have);
    if (!array_root) need += array_space(sb.nr_blocks);
    if (need <= have) return;
    const std::uint64_t suggested = std::max(blocks_suggested(sb.nr_blocks), need);
    throw pd::device_error(fmt::format(
        "{}: is too small: it has {}, and {} needs {} at least; {}", target.name, in_words(have),
        what, in_words(need), pd::how_to_enlarge(target.name, target.is_block_device, suggested)));
  }

  void require_order(const superblock& built);

  // The next eras of the array are those of these blocks.
  void advance_eras(origin_range blocks, era_nr newest) {
    const std::uint64_t expected = position.next();
    position.require(blocks);
    if (blocks.begin != expected)
      throw pd::invalid_input(
          fmt::format("block {} is missing before block {}; every block needs its era", expected,
                      blocks.begin));
    if (newest > sb.current_era)
      throw pd::invalid_input(
          fmt::format("era=\"{}\" is past the current era {}", newest, sb.current_era));
    position.advance(blocks);
    newest_in_array = std::max(newest_in_array, newest);
  }

  template <class Piece>
  void in_pieces(origin_range blocks, Piece piece) const {
    for (std::uint64_t at = blocks.begin; at < blocks.end; at += blocks_per_piece) {
      if (blocks.size() > blocks_per_piece) progress();
      piece(origin_range{at, std::min(at + blocks_per_piece, blocks.end)});
    }
  }

  open_target open;
  pd::progress_function progress;
  output_target target;
  std::optional<atomic_metadata_output> output;
  std::optional<pd::block_writer> writer;

  xml::superblock_element sb;
  list_position position;

  std::optional<pd::bitset_builder> bitset;
  era_nr writeset_era;
  std::uint32_t nr_bits = 0;
  // There may be millions. Those that ascend are kept in little memory.
  struct entry {
    std::uint32_t key;  // the era
    writeset_value value;
  };
  std::deque<entry> writesets;
  std::map<std::uint32_t, writeset_value> unsorted;

  std::uint64_t nr_writesets() const { return writesets.size() + unsorted.size(); }

  bool has_writeset(std::uint32_t era) const {
    return unsorted.contains(era) ||
           std::binary_search(writesets.begin(), writesets.end(), entry{era, {}},
                              [](const entry& a, const entry& b) { return a.key < b.key; });
  }

  void add_writeset(std::uint32_t era, const writeset_value& value) {
    if (writesets.empty() || writesets.back().key < era)
      writesets.push_back({era, value});
    else
      unsorted.emplace(era, value);
  }

  void sort_writesets() {
    for (; !unsorted.empty(); unsorted.erase(unsorted.begin()))
      writesets.push_back({unsorted.begin()->first, unsorted.begin()->second});
    std::sort(writesets.begin(), writesets.end(),
              [](const entry& a, const entry& b) { return a.key < b.key; });
  }

  std::optional<pd::array_builder<pd::le32>> array;
  std::optional<pd::block_nr> array_root;

  // Digestion writes the era of a writeset over the array's. Only if the array has an era that is
  // newer than some writeset can that be an older one.
  std::optional<era_nr> oldest_writeset;
  era_nr newest_in_array;
};

metadata_builder::metadata_builder(open_target open, pd::progress_function progress)
    : state_(std::make_unique<state>(std::move(open), std::move(progress))) {}
metadata_builder::~metadata_builder() = default;

encoded_stripe metadata_builder::encode_bits(origin_range blocks,
                                             std::span<const pd::le64> words) const {
  encoded_stripe stripe;
  stripe.blocks = blocks;
  stripe.words.assign(words.begin(),
                      words.begin() + static_cast<std::ptrdiff_t>(bitset_words(blocks.size())));
  if (const std::uint64_t rest = blocks.size() % bits_per_word; rest != 0)
    stripe.words.back() = stripe.words.back() & ((std::uint64_t{1} << rest) - 1);
  return stripe;
}

encoded_stripe metadata_builder::encode_eras(std::uint32_t first,
                                             std::span<const std::uint32_t> eras) const {
  encoded_stripe stripe;
  stripe.blocks = {first, first + std::uint64_t{eras.size()}};
  stripe.eras.assign(eras.begin(), eras.end());
  stripe.newest = newest_era(stripe.eras);
  return stripe;
}

void metadata_builder::append(const encoded_stripe& stripe) {
  state& s = *state_;
  if (s.bitset) {
    s.position.advance(stripe.blocks);
    s.bitset->append(stripe.blocks.begin / bits_per_word, stripe.words);
  } else {
    s.advance_eras(stripe.blocks, stripe.newest);
    s.array->append(stripe.eras);
  }
}

void metadata_builder::begin_superblock(const xml::superblock_element& sb) {
  if (!is_possible_block_size(sb.block_size))
    throw pd::invalid_input(fmt::format(
        "block_size=\"{}\" cannot be; it is a multiple of 8 sectors above 0", sb.block_size));
  if (sb.current_era.value > max_current_era)
    throw pd::invalid_input(fmt::format("current_era=\"{}\" cannot be; the last one is {}",
                                        sb.current_era, max_current_era));
  state& s = *state_;
  s.sb = sb;
  s.target = s.open(blocks_suggested(sb.nr_blocks));
  s.output.emplace(s.target);
  s.writer.emplace(s.output->queue(), s.target.nr_blocks);
  s.require_room(tree_space(0), fmt::format("metadata of {} origin blocks", sb.nr_blocks));
  s.output->wipe();
}

void metadata_builder::begin_writeset(era_nr era, std::uint32_t nr_bits) {
  state& s = *state_;
  if (era.value == 0) throw pd::invalid_input("era=\"0\" cannot be; the first era is 1");
  if (era > s.sb.current_era)
    throw pd::invalid_input(
        fmt::format("era=\"{}\" is past the current era {}", era, s.sb.current_era));
  if (s.has_writeset(era.value))
    throw pd::invalid_input(fmt::format("there are two writesets of era {}", era));
  s.require_room(bitset_space(nr_bits) + tree_space(s.nr_writesets() + 1),
                 fmt::format("what was read up to the writeset of era {}", era));
  s.writeset_era = era;
  s.oldest_writeset = std::min(s.oldest_writeset.value_or(era), era);
  s.nr_bits = nr_bits;
  s.position = {nr_bits, "the writeset's nr_bits"};
  s.bitset.emplace(*s.writer);
}

void metadata_builder::bits(origin_range blocks, bool value) {
  state_->position.advance(blocks);
  if (value)
    state_->in_pieces(blocks, [&](origin_range piece) {
      state_->bitset->set({piece.begin, piece.end});
    });
}

void metadata_builder::end_writeset() {
  const pd::block_nr root = state_->bitset->finish(state_->nr_bits);
  state_->add_writeset(state_->writeset_era.value, {state_->nr_bits, root.value});
  state_->bitset.reset();
}

void metadata_builder::begin_era_array() {
  if (state_->array_root) throw pd::invalid_input("there are two era arrays");
  state_->position = {state_->sb.nr_blocks, "nr_blocks"};
  state_->array.emplace(*state_->writer);
}

void metadata_builder::eras(origin_range blocks, era_nr era) {
  state_->advance_eras(blocks, era);
  state_->in_pieces(blocks,
                    [&](origin_range piece) { state_->array->append(piece.size(), era.value); });
}

void metadata_builder::end_era_array() {
  const std::uint64_t next = state_->position.next(), nr_blocks = state_->sb.nr_blocks;
  if (next + 1 == nr_blocks)
    throw pd::invalid_input(fmt::format("block {} is missing; every block needs its era", next));
  if (next != nr_blocks)
    throw pd::invalid_input(
        fmt::format("blocks {} to {} are missing; every block needs its era", next, nr_blocks - 1));
  state_->array_root = state_->array->finish();
  state_->array.reset();
}

void metadata_builder::end_superblock() {
  if (!state_->array_root) throw pd::invalid_input("it has no era_array");
}

void metadata_builder::commit() {
  state& s = *state_;
  s.sort_writesets();
  pd::block b{};
  auto& sb = b.as<superblock>();
  sb.uuid = s.sb.uuid;
  sb.magic = superblock_magic;
  sb.version = superblock_version;
  sb.data_block_size = s.sb.block_size;
  sb.metadata_block_size = sectors_per_metadata_block;
  sb.nr_blocks = s.sb.nr_blocks;
  sb.current_era = s.sb.current_era.value;
  sb.era_array_root = s.array_root->value;
  sb.writeset_tree_root = pd::build_btree<writeset_value>(*s.writer, s.writesets).value;
  sb.space_map = pd::build_space_map(*s.writer);
  s.progress();
  s.require_order(sb);
  s.output->finish(b);
}

// Reads back what was built if the array has a newer era than some writeset: writesets come before
// the array, and are not kept in memory.
void metadata_builder::state::require_order(const superblock& built) {
  if (!oldest_writeset || newest_in_array <= *oldest_writeset) return;
  output->queue().drain_and_flush();
  const auto device = target.open_for_reading();
  pd::read_queue queue(device->make_engine(), device->nr_blocks());
  pd::reference_counter counter(device->nr_blocks(), pd::reference_counter::counting::no);
  pd::btree_walk walk(queue, counter);
  const finding_sink reject = [](const finding& f) {
    throw pd::device_error(fmt::format("{}: cannot be read back as it was written: {}",
                                       in_words(f.where), f.error.text));
  };
  const metadata m = map_metadata(walk, source::live, superblock_location, built, reject);
  const auto refuse = [](const out_of_order& wrong) {
    throw pd::invalid_input(fmt::format(
        "{}: {}; digestion would give them the older era: restore what era_dump --logical prints",
        in_words(wrong.where), in_words(wrong)));
  };
  const std::vector<era_nr> newest(nr_stripes(m), newest_in_array);
  find_out_of_order(m, *device, loss_policy::refuse, newest, refuse, reject);
}

metadata_builder::work metadata_builder::progress() const noexcept {
  const state& s = *state_;
  if (!s.writer) return {};
  const auto blocks_left = [](std::uint64_t values, std::uint64_t done, std::uint32_t value_size) {
    return pd::array_blocks_for(values - std::min(values, done), value_size);
  };
  std::uint64_t rest = 0;
  if (!s.array_root)
    rest += blocks_left(s.sb.nr_blocks, s.array ? s.array->size() : 0, sizeof(pd::le32));
  if (s.bitset)
    rest += blocks_left(bitset_words(s.nr_bits), s.bitset->nr_words(), sizeof(pd::le64));
  return {s.writer->nr_used() * pd::block_size, rest * pd::block_size};
}

output_state metadata_builder::abandon() noexcept {
  return state_->output ? state_->output->abandon() : output_state::as_before;
}

}  // namespace era
