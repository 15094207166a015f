// SPDX-License-Identifier: GPL-3.0-or-later
// Trees, arrays, bitsets and the space map are changed without the transaction: every operation
// works or throws, and none runs for ever. Without changes, every operation works, and the last
// commit counts each reference exactly.
#include <memory>

#include <gtest/gtest.h>

#include "fuzz/edits.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/counts.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/transaction/array.h"
#include "persistent-data/transaction/bitset.h"
#include "persistent-data/transaction/btree.h"

namespace era::fuzz {
namespace {

constexpr pd::block_kind root_kind{"a test's superblock", 4711, 8};
constexpr std::uint64_t nr_blocks = 128;

struct roots {
  pd::le32 csum, padding;
  pd::le64 blocknr;
  pd::disk_sm_root counts;
  pd::le64 tree, array, bits, held;
};

class trees {
 public:
  explicit trees(pd::test::scratch_device& device) : store_(device) {}

  void make() {
    tx_ = std::make_unique<pd::transaction>(store_, 32);
    open();
    root_.tree = tree_->make().value;
    for (std::uint64_t key = 0; key < 700; ++key)
      root_.tree = tree_->insert({root_.tree}, key * 3, pd::le64(key)).value;
    root_.array = array_->resize(array_->make(), 0, size, pd::le32(7)).value;
    root_.bits = bits_->make(size).value;
    root_.held = root_.tree;
    tx_->counts().increment({root_.tree});
    commit();
  }

  void reopen(const pd::block& b) {
    root_ = b.as<roots>();
    tx_ = std::make_unique<pd::transaction>(store_, 32, root_.counts);
    open();
  }

  void operate(input& in) {
    const std::uint64_t what = in.number(1), key = in.number(2);
    switch (what % 12) {
      case 0:
        if (!tree_->lookup({root_.tree}, key))
          root_.tree = tree_->insert({root_.tree}, key, pd::le64(1)).value;
        break;
      case 1:
        if (tree_->lookup({root_.tree}, key)) root_.tree = tree_->remove({root_.tree}, key).value;
        break;
      case 2: tree_->lowest({root_.tree}); break;
      case 3: array_->read_block({root_.array}, key % blocks, [](auto) {}); break;
      case 4:
        // A block may have no values: how many it has to have is for the caller to judge.
        root_.array = array_
                          ->change_block({root_.array}, key % blocks,
                                         [](auto values) {
                                           if (!values.empty()) values.front() = pd::le32(9);
                                         })
                          .value;
        break;
      case 5: root_.bits = bits_->set({root_.bits}, pd::range{key % size, size}).value; break;
      case 6:
        bits_->for_each_set({root_.bits}, {key % size, key % size + 1},
                            [](std::uint64_t) { return true; });
        break;
      case 7: commit(); break;
      case 8:
        if (root_.held != 0) tree_->release({root_.held});
        root_.held = 0;
        break;
      case 9:
        if (root_.held != 0) break;
        root_.held = root_.tree;
        tx_->counts().increment({root_.tree});
        break;
      default:
        if (const auto lowest = tree_->lowest({root_.tree}))
          root_.tree = tree_->remove({root_.tree}, *lowest).value;
    }
  }

  void commit() {
    pd::block b{};
    root_.counts = tx_->prepare();
    b.as<roots>() = root_;
    tx_->commit(root_kind, b);
  }

  const roots& root() const { return root_; }

  static constexpr std::uint64_t size = 5000, blocks = 5;

 private:
  void open() {
    tree_ = std::make_unique<pd::btree<pd::le64>>(*tx_);
    array_ = std::make_unique<pd::array<pd::le32>>(*tx_);
    bits_ = std::make_unique<pd::bitset>(*tx_);
  }

  pd::test::recording_store store_;
  std::unique_ptr<pd::transaction> tx_;
  std::unique_ptr<pd::btree<pd::le64>> tree_;
  std::unique_ptr<pd::array<pd::le32>> array_;
  std::unique_ptr<pd::bitset> bits_;
  roots root_{};
};

// That what was committed is sound, and its references are counted exactly: what is not ends the
// program, so that the fuzzer keeps the input.
void expect_sound(const pd::test::scratch_device& device) {
  testing::GTEST_FLAG(break_on_failure) = true;
  const auto r = device[{0}].as<roots>();
  constexpr std::uint32_t tree_value = sizeof(pd::le64), word = sizeof(pd::le64);
  std::vector<pd::test::expected_root> all{{{r.tree}, tree_value},
                                           {{r.array}, 0, trees::size},
                                           {{r.bits}, 0, (trees::size + 63) / 64, word}};
  if (r.held != 0) all.push_back({{r.held}, tree_value});
  expect_exact_counts(device, r.counts, all);
}

struct base {
  pd::test::scratch_device device{nr_blocks};
  std::vector<const pd::block_kind*> kinds;
  base() {
    trees(device).make();
    kinds = kinds_of(device);
    kinds[0] = &root_kind;
  }
};

}  // namespace
}  // namespace era::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  static const base from;
  static pd::test::scratch_device device(nr_blocks);
  copy_device(from.device, device);
  input in({data, size});
  const edit_result edits = apply_edits(in, device, from.kinds, static_cast<unsigned>(in.below(6)));
  trees all(device);
  try {
    all.reopen(device[{0}]);
    for (int i = 0; !in.empty() && i < 200; ++i) all.operate(in);
    all.commit();
  } catch (const pd::no_space&) {
    // The last commit stands.
  } catch (const pd::error& e) {
    if (edits.edits == 0) fail(e.what());
  }
  if (edits.edits == 0) expect_sound(device);
  return 0;
}
