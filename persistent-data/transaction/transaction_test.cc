// SPDX-License-Identifier: GPL-3.0-or-later
// Trees, arrays and bitsets against simple models, over commits, reopening and shared roots; after
// each commit the readers find exactly the references that the space map counts.
#include "persistent-data/transaction/transaction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/counts.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/values.h"
#include "persistent-data/transaction/array.h"
#include "persistent-data/transaction/bitset.h"
#include "persistent-data/transaction/btree.h"

namespace persistent_data {
namespace {

using test::recording_store;
using test::scratch_device;

constexpr block_kind root_kind{"a test's superblock", 4711, 8};

struct roots {
  le32 csum;
  le32 padding;
  le64 blocknr;
  disk_sm_root counts;
  le64 root[4];
};

class Transaction : public ::testing::Test {
 protected:
  explicit Transaction(std::uint64_t nr_blocks = 4096) : disk_(nr_blocks), store_(disk_) { make(); }

  void make() { tx_ = std::make_unique<transaction>(store_, 64); }

  void commit(std::initializer_list<block_nr> list = {}) {
    block b{};
    auto& r = b.as<roots>();
    r.counts = tx_->prepare();
    std::size_t i = 0;
    for (const block_nr root : list) r.root[i++] = root.value;
    tx_->commit(root_kind, b);
  }

  void reopen() {
    tx_.reset();
    tx_ = std::make_unique<transaction>(store_, 64, disk_[{0}].as<roots>().counts);
  }

  // The committed trees, with the size of their values, and arrays, with their sizes, are sound,
  // and their references are counted exactly.
  void validate(const std::vector<std::pair<block_nr, std::uint32_t>>& trees,
                const std::vector<std::pair<block_nr, std::uint64_t>>& arrays = {}) {
    std::vector<test::expected_root> all;
    for (const auto& [root, value_size] : trees) all.push_back({root, value_size, 0});
    for (const auto& [root, size] : arrays) all.push_back({root, 0, size});
    expect_exact_counts(disk_, disk_[{0}].as<roots>().counts, all);
  }

  scratch_device disk_;
  recording_store store_;
  std::unique_ptr<transaction> tx_;
};

TEST_F(Transaction, OfNothingIsASpaceMap) {
  commit();
  validate({});
  EXPECT_EQ(tx_->counts().nr_used(), 4u);  // superblock, bitmap, index, tree of large counts
  reopen();
  EXPECT_EQ(tx_->counts().nr_used(), 4u);
  commit();
  validate({});
}

TEST_F(Transaction, ABtreeIsAMap) {
  std::mt19937_64 random(1);
  btree<le64> tree(*tx_);
  block_nr root = tree.make();
  std::map<std::uint64_t, std::uint64_t> model;
  for (const std::uint64_t keys : {300u, 30'000u, 2'000'000'000u})
    for (int round = 0; round < 40; ++round) {
      // More is inserted than removed, then more removed.
      for (int i = 0; i < 1000; ++i) {
        const std::uint64_t key = random() % keys, value = random();
        const auto at = model.lower_bound(key);
        if (random() % 100 < (round < 20 ? 70u : 25u) || at == model.end()) {
          root = tree.insert(root, key, le64(value));
          model[key] = value;
        } else {
          root = tree.remove(root, at->first);
          model.erase(at);
        }
      }
      commit({root});
      validate({{root, 8}});
      std::map<std::uint64_t, std::uint64_t> all;
      test::each_entry<le64>(*tx_, root, [&](std::uint64_t key, le64 value) { all[key] = value; });
      ASSERT_EQ(all, model);
      ASSERT_EQ(tree.lowest(root),
                model.empty() ? std::nullopt : std::optional(model.begin()->first));
      for (int i = 0; i < 10; ++i) {
        const std::uint64_t key = random() % keys;
        const auto found = tree.lookup(root, key);
        ASSERT_EQ(found.has_value(), model.contains(key));
        if (found) {
          ASSERT_EQ(*found, model[key]);
        }
      }
    }
  while (!model.empty()) {
    root = tree.remove(root, model.begin()->first);
    model.erase(model.begin());
  }
  commit({root});
  validate({{root, 8}});
  EXPECT_EQ(tx_->counts().nr_used(), 5u);
}

TEST_F(Transaction, NodesButTheRootAreAThirdFull) {
  std::mt19937_64 random(2);
  btree<le64> tree(*tx_);
  block_nr root = tree.make();
  std::vector<std::uint64_t> keys(20'000);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i * 3;
  std::shuffle(keys.begin(), keys.end(), random);
  for (const std::uint64_t key : keys) root = tree.insert(root, key, le64(key));
  std::shuffle(keys.begin(), keys.end(), random);
  const auto check = [&] {
    commit({root});
    const block_device device = disk_.open();
    for (std::uint64_t b = 1; b < device.nr_blocks(); ++b) {
      if (tx_->counts().count({b}) == 0 || b == root.value) continue;
      if (identify(disk_[{b}], {b}) != &btree_node_kind) continue;
      const auto& header = disk_[{b}].as<node_header>();
      if (header.max_entries == max_node_entries(4)) continue;
      EXPECT_GE(header.nr_entries, header.max_entries / 3) << "block " << b;
    }
  };
  check();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    root = tree.remove(root, keys[i]);
    if (i % 1000 == 999) check();
  }
}

// A second root holds what was, as a metadata snapshot does.
TEST_F(Transaction, ASharedTreeKeepsWhatItWas) {
  std::mt19937_64 random(3);
  array<le32> values(*tx_);
  std::vector<std::uint32_t> model(300'000), old;
  block_nr root = values.resize(values.make(), 0, model.size(), le32(0));
  commit({root});
  for (int round = 0; round < 10; ++round) {
    const block_nr held = root;
    tx_->counts().increment(root);
    old = model;
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t at = random() % model.size();
      model[at] = static_cast<std::uint32_t>(random());
      root = test::set(values, root, at, le32(model[at]));
      if (i == 200) commit({root, held});
    }
    commit({root, held});
    validate({}, {{root, model.size()}, {held, model.size()}});
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t at = random() % model.size();
      ASSERT_EQ(test::get(values, root, at), model[at]);
      ASSERT_EQ(test::get(values, held, at), old[at]);
    }
    values.release(held);
    commit({root});
    validate({}, {{root, model.size()}});
  }
}

TEST_F(Transaction, AnArrayIsResizedBothWays) {
  array<le32> values(*tx_);
  std::vector<std::uint32_t> model;
  block_nr root = values.make();
  std::uint32_t fill = 0;
  for (const std::size_t size : {1u, 1018u, 1017u, 1019u, 300'000u, 0u, 5000u, 4999u, 256'537u,
                                 256'536u, 1u, 70'000u, 69'000u, 69'001u, 0u}) {
    root = values.resize(root, model.size(), size, le32(++fill));
    model.resize(size, fill);
    commit({root});
    validate({}, {{root, size}});
    for (std::size_t i = 0; i < size; i += 1 + i % 97)
      ASSERT_EQ(test::get(values, root, i), model[i]);
    if (size > 0) {
      ASSERT_EQ(test::get(values, root, size - 1), model[size - 1]);
    }
  }
  EXPECT_EQ(tx_->counts().nr_used(), 5u);
}

// A kernel that made it smaller left a block after its end.
TEST_F(Transaction, AnArrayGrowsOverBlocksAfterItsEnd) {
  array<le32> values(*tx_);
  block_nr root = values.resize(values.make(), 0, 4 * 1018 + 1, le32(1));
  commit({root});
  root = values.resize(root, 2 * 1018, 5 * 1018, le32(2));
  commit({root});
  validate({}, {{root, 5 * 1018}});
  for (std::size_t i = 0; i < 5 * 1018; ++i)
    ASSERT_EQ(test::get(values, root, i), i < 2 * 1018 ? 1u : 2u) << i;
}

TEST_F(Transaction, ABitsetIsASet) {
  std::mt19937_64 random(4);
  bitset bits(*tx_);
  const std::uint64_t size = 200'000;
  block_nr root = bits.make(size);
  std::vector<bool> model(size);
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t bit = random() % size;
    root = bits.set(root, range{bit, bit + 1});
    model[bit] = true;
    if (i % 100 == 0) commit({root});
  }
  commit({root});
  reopen();
  bitset again(*tx_);
  for (std::uint64_t i = 0; i < size; ++i) ASSERT_EQ(test::is_set(again, root, i), model[i]) << i;
  again.release(root);
  commit();
  validate({});
}

// Ranges within a word, of whole words, and over several blocks; each block is copied once.
TEST_F(Transaction, ABitsetTakesRanges) {
  constexpr unsigned seed = 6;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  bitset bits(*tx_);
  constexpr std::uint64_t size = 5 * bitset::bits_per_block - 100;
  block_nr root = bits.make(size);
  std::vector<bool> model(size);
  for (int i = 0; i < 400; ++i) {
    const std::uint64_t longest[] = {2, 70, 1000, size};
    const std::uint64_t begin = random() % size;
    const std::uint64_t end = begin + random() % std::min(longest[i % 4], size - begin + 1);
    commit({root});
    store_.records = true;
    store_.recorded.clear();
    root = bits.set(root, range{begin, end});
    std::fill(model.begin() + static_cast<std::ptrdiff_t>(begin),
              model.begin() + static_cast<std::ptrdiff_t>(end), true);
    commit({root});
    // The blocks of the bitset, the root of its tree; bitmap, index and superblock.
    std::set<std::uint64_t> written;
    for (const auto& e : store_.recorded)
      if (e.content) written.insert(e.where.value);
    const std::uint64_t blocks =
        begin == end ? 0 : (end - 1) / bitset::bits_per_block - begin / bitset::bits_per_block + 2;
    EXPECT_EQ(written.size(), blocks + 3) << "from " << begin << " to " << end;
    if (i % 10 == 0) {
      for (std::uint64_t b = 0; b < size; ++b)
        ASSERT_EQ(test::is_set(bits, root, b), model[b]) << b;
    }
    // The rest of a block, up to some bit.
    const std::uint64_t block_end =
        std::min(size, (begin / bitset::bits_per_block + 1) * bitset::bits_per_block);
    std::vector<std::uint64_t> found, expected;
    const std::size_t most = random() % 100;
    bits.for_each_set(root, {begin, block_end}, [&](std::uint64_t b) {
      found.push_back(b);
      return found.size() < most;
    });
    for (std::uint64_t b = begin; b < block_end && expected.size() < std::max<std::size_t>(most, 1);
         ++b)
      if (model[b]) expected.push_back(b);
    ASSERT_EQ(found, expected);
  }
}

TEST_F(Transaction, CountsOfThreeAndMoreAreInATree) {
  std::vector<block_nr> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(tx_->create(array_block_kind)->where);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) tx_->counts().increment(blocks[i]);
  commit();
  reopen();
  for (std::size_t i = 0; i < blocks.size(); ++i) ASSERT_EQ(tx_->counts().count(blocks[i]), i + 1);
  const auto counts = test::counts_on(disk_, disk_[{0}].as<roots>().counts);
  for (std::size_t i = 0; i < blocks.size(); ++i) EXPECT_EQ(counts[blocks[i].value], i + 1);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    while (tx_->counts().decrement(blocks[i]) > 0) {
    }
  commit();
  validate({});
  EXPECT_EQ(tx_->counts().nr_used(), 4u);
}

// No block that the last commit reaches is written to before the next commit.
TEST_F(Transaction, NothingThatIsCommittedIsOverwritten) {
  std::mt19937_64 random(5);
  array<le32> values(*tx_);
  block_nr root = values.resize(values.make(), 0, 50'000, le32(0));
  commit({root});
  for (int round = 0; round < 300; ++round) {
    std::vector<bool> in_use(disk_.nr_blocks());
    for (std::uint64_t b = 1; b < in_use.size(); ++b) in_use[b] = tx_->counts().count({b}) > 0;
    store_.records = true;
    store_.recorded.clear();
    for (int i = 0; i < 20; ++i) root = test::set(values, root, random() % 50'000, le32(1));
    commit({root});
    std::size_t flushes = 0, superblocks = 0;
    for (const auto& e : store_.recorded) {
      if (!e.content) {
        ++flushes;
      } else if (e.where.value == 0) {
        EXPECT_EQ(flushes, 1u);
        ++superblocks;
      } else {
        ASSERT_FALSE(in_use[e.where.value]) << "block " << e.where.value;
        EXPECT_EQ(flushes, 0u);
      }
    }
    ASSERT_EQ(flushes, 2u);
    ASSERT_EQ(superblocks, 1u);
    ASSERT_FALSE(store_.recorded.back().content);
  }
}

class FullTransaction : public Transaction {
 protected:
  FullTransaction() : Transaction(40) {}
};

TEST_F(FullTransaction, NoSpaceLeavesTheLastCommit) {
  array<le32> values(*tx_);
  block_nr root = values.resize(values.make(), 0, 20'000, le32(0));
  commit({root});
  int successes = 0, failures = 0;
  for (int round = 0; round < 50; ++round) {
    array<le32> now(*tx_);
    const std::uint32_t last = test::get(now, root, 0);
    block_nr changed = root;
    // As many blocks are changed as there are, and some rounds have room for it.
    try {
      for (int i = 0; i < 1 + round; ++i)
        changed = test::set(now, changed, std::uint64_t(i) * 1018 % 20'000, le32(last + 1));
      commit({changed});
      root = changed;
      ++successes;
    } catch (const no_space& e) {
      ASSERT_NE(std::string(e.what()).find("take a larger metadata device"), std::string::npos);
      ++failures;
    }
    reopen();
    validate({}, {{root, 20'000}});
  }
  EXPECT_GT(successes, 5);
  EXPECT_GT(failures, 5);
}

TEST_F(Transaction, DamageIsAnError) {
  array<le32> values(*tx_);
  block_nr root = values.resize(values.make(), 0, 5000, le32(0));
  commit({root});
  disk_.damage_block(root);
  reopen();
  array<le32> again(*tx_);
  EXPECT_THROW(test::get(again, root, 0), damaged_metadata);
  EXPECT_THROW(test::set(again, root, 0, le32(1)), damaged_metadata);
  disk_.damage_block({disk_[{0}].as<roots>().counts.bitmap_root});
  EXPECT_THROW(reopen(), damaged_metadata);
}

}  // namespace
}  // namespace persistent_data
