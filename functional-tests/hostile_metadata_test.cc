// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata made by hand to do harm, unlike any kernel image: cycles, trees without an end, one
// block owned by thousands, sizes that no device has. It is reported, the dump refuses, and neither
// memory nor reading grows with what is claimed.
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "era/repair/salvage.h"
#include "functional-tests/hostile_metadata.h"
#include "functional-tests/sweep_run.h"
#include "persistent-data/format/errors.h"

namespace era::test {
namespace {

using pd::error_class;

// The kept part of the findings, of which there can be many.
struct report {
  std::size_t findings = 0, expected = 0;
  bool fatal = false, hides = false;
  sweep::cost cost;
};

class HostileMetadata : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { sweep::tell_case_on_death(); }

  HostileMetadata() : image_("fresh"), hostile_(image_) {
    sweep::name_case(::testing::UnitTest::GetInstance()->current_test_info()->name());
  }

  void SetUp() override {
    check({});
    sound_ = check({});
    ASSERT_EQ(sound_.findings, 0u);
  }

  using predicate = std::function<bool(const finding&)>;

  report check(const predicate& is_expected) {
    report r;
    r.cost = sweep::measure([&] {
      sweep::check(image_.path(), source::live, [&](const finding& f) {
        ++r.findings;
        r.fatal = r.fatal || f.fatal();
        r.hides = r.hides || sweep::hides_something(f);
        if (is_expected && is_expected(f)) ++r.expected;
      });
    });
    return r;
  }

  // The one error is found in its block; nothing grows.
  report expect(part where, error_class what, bool refused = true) {
    const report r = check([&](auto& f) { return f.where.what == where && f.error.type == what; });
    EXPECT_GT(r.expected, 0u) << "not reported";
    EXPECT_LE(r.cost.memory, sound_.cost.memory + memory_allowance_);
    EXPECT_LE(r.cost.reading, 4 * sound_.cost.reading + 2 * image_.blocks().size_bytes());
    if (refused) {
      EXPECT_TRUE(sweep::dump_refuses(image_.path(), source::live, {false, true}));
    }
    salvage({});
    salvage(pd::block{});
    return r;
  }

  // With the superblock and without it: an end comes, and memory is not taken for claims. Nothing
  // is written, since writing takes time for each block that the metadata claims.
  void salvage(const std::optional<pd::block>& first) {
    const pd::block before = image_.blocks()[0];
    if (first) image_.blocks()[0] = *first;
    const sweep::cost cost = sweep::measure([&] {
      const pd::block_device device(image_.path(), pd::access::shared);
      const repair_options given{128, 1000, {}, source::live};
      const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
      try {
        salvage_metadata(device, given, ignored, [] {});
      } catch (const pd::damaged_metadata&) {
      }
    });
    image_.blocks()[0] = before;
    EXPECT_LE(cost.memory, sound_.cost.memory + memory_allowance_ + (12 << 20))
        << (first ? "without a superblock" : "");
  }

  void set_writeset_tree(pd::block_nr root, std::uint32_t current_era = 1u << 20) {
    hostile_.superblock([&](superblock& sb) {
      sb.writeset_tree_root = root.value;
      sb.current_era = current_era;
    });
  }

  void set_era_array(pd::block_nr root, std::uint32_t nr_blocks) {
    hostile_.superblock([&](superblock& sb) {
      sb.era_array_root = root.value;
      sb.nr_blocks = nr_blocks;
    });
  }

  memory_image image_;
  sweep::hostile_metadata hostile_;
  report sound_;
  std::size_t memory_allowance_ = 4 << 20;
};

TEST_F(HostileMetadata, AWritesetTreeThatReturnsToItsRoot) {
  const auto n = hostile_.take(3);
  hostile_.put_internal(n[0], {n[1], n[2], n[2]}, 1, 100);
  hostile_.put_internal(n[1], {n[0], n[1]}, 1);
  hostile_.put_internal(n[2], {n[1], n[0]}, 101);
  set_writeset_tree(n[0]);
  EXPECT_TRUE(expect(part::writeset_tree, error_class::cross_linked).hides);
}

TEST_F(HostileMetadata, AnArrayTreeThatReturnsToItsRoot) {
  const auto n = hostile_.take(3);
  hostile_.put_internal(n[0], {n[1], n[2]}, 0, 252);
  hostile_.put_internal(n[1], {n[2], n[1]});
  hostile_.put_internal(n[2], {n[0], n[0]}, 252);
  set_era_array(n[0], 400 * eras_per_array_block);
  EXPECT_TRUE(expect(part::era_array, error_class::cross_linked).hides);
}

// Every node in itself is sound, and the leaf at the end: only the depth is not.
TEST_F(HostileMetadata, ATreeThatIsAllDepth) {
  const auto owned = hostile_.take(), bitset = hostile_.take();
  hostile_.put(owned, pd::test::make_array_block(owned, std::vector<pd::le32>(1018, 0u)));
  hostile_.put_pointers(bitset, 0, {});
  const auto chain = hostile_.take(hostile_.room());
  for (std::size_t i = 0; i + 1 < chain.size(); ++i)
    hostile_.put_internal(chain[i], {chain[i + 1]});
  hostile_.put_pointers(chain.back(), 0, {owned});
  const std::uint64_t sound_root = image_.blocks()[0].as<superblock>().era_array_root;
  const std::uint32_t sound_size = image_.blocks()[0].as<superblock>().nr_blocks;
  set_era_array(chain.front(), eras_per_array_block);
  EXPECT_TRUE(expect(part::era_array, error_class::bad_shape).hides);

  set_era_array({sound_root}, sound_size);
  hostile_.put_writesets(chain.back(), 1, 1, 0, bitset);
  set_writeset_tree(chain.front());
  EXPECT_TRUE(expect(part::writeset_tree, error_class::bad_shape).hides);
}

TEST_F(HostileMetadata, ThousandsOfPointersToOneNode) {
  const auto root = hostile_.take(), leaf = hostile_.take();
  const auto middle = hostile_.take(252);
  hostile_.put_internal(root, middle, 0, 252);
  for (std::size_t i = 0; i < middle.size(); ++i)
    hostile_.put_internal(middle[i], std::vector(252, leaf), i * 252);
  hostile_.put_pointers(leaf, 0, {leaf});
  set_era_array(root, 1000 * eras_per_array_block);
  EXPECT_GT(expect(part::era_array, error_class::cross_linked).expected, 10'000u);
}

TEST_F(HostileMetadata, ThousandsOfPointersToOneArrayBlock) {
  const auto root = hostile_.take(), owned = hostile_.take();
  const auto leaves = hostile_.take(4);
  hostile_.put_internal(root, leaves, 0, 250);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    hostile_.put_pointers(leaves[i], i * 250, std::vector(250, owned));
  hostile_.put(owned, pd::test::make_array_block(owned, std::vector<pd::le32>(1018, 0u)));
  set_era_array(root, 1000 * eras_per_array_block);
  EXPECT_GE(expect(part::era_array, error_class::cross_linked).expected, 999u);
}

TEST_F(HostileMetadata, AnOriginAtItsLimitOnATinyDevice) {
  hostile_.superblock([](superblock& sb) { sb.nr_blocks = max_origin_blocks; });
  EXPECT_TRUE(expect(part::superblock, error_class::bad_value).fatal);
  EXPECT_TRUE(expect(part::era_array, error_class::bad_value).hides);
}

TEST_F(HostileMetadata, ACurrentWritesetAtItsLimitOnATinyDevice) {
  for (const std::uint32_t nr_bits : {0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    hostile_.superblock([&](superblock& sb) {
      sb.current_root = sb.era_array_root;
      sb.current_nr_bits = nr_bits;
    });
    EXPECT_TRUE(expect(part::current_writeset, error_class::bad_value).hides);
  }
}

// As many as there is room for, and each as large as the device could hold; or larger.
TEST_F(HostileMetadata, ThousandsOfWritesetsThatShareOneBitset) {
  const auto root = hostile_.take(), bitset = hostile_.take(), owned = hostile_.take();
  const auto leaves = hostile_.take(250);
  hostile_.put_internal(root, leaves, 1, 201);
  hostile_.put_pointers(bitset, 0, {owned});
  hostile_.put(owned, pd::test::make_array_block(owned, std::vector<pd::le64>(509, 0u)));
  const auto most = static_cast<std::uint32_t>(image_.blocks().size() - 1) * bits_per_bitset_block;
  for (const std::uint32_t nr_bits : {bits_per_bitset_block, most, max_origin_blocks, ~0u}) {
    for (std::size_t i = 0; i < leaves.size(); ++i)
      hostile_.put_writesets(leaves[i], 1 + i * 201, 201, nr_bits, bitset);
    set_writeset_tree(root);
    EXPECT_TRUE(expect(part::writeset_tree, error_class::bad_shape).hides) << nr_bits;
  }
}

// Each with a bitset of its own that has its last block and lacks all others.
TEST_F(HostileMetadata, WritesetsWithHugeHoles) {
  constexpr std::uint64_t device = 1 << 14;
  image_.grow_device(device);
  sound_ = check({});
  ASSERT_EQ(sound_.findings, 0u);
  const auto tree = hostile_.take();
  const auto bitsets = hostile_.take(201), owned = hostile_.take(201);
  const std::uint64_t blocks = device - 1;
  std::vector<writeset_value> values;
  std::vector<std::uint64_t> eras;
  for (std::size_t i = 0; i < bitsets.size(); ++i) {
    hostile_.put_pointers(bitsets[i], blocks - 1, {owned[i]});
    hostile_.put(owned[i], pd::test::make_array_block(owned[i], std::vector<pd::le64>(509, 0u)));
    const auto nr_bits = static_cast<std::uint32_t>(blocks * bits_per_bitset_block);
    values.push_back({pd::le32(nr_bits), pd::le64(bitsets[i].value)});
    eras.push_back(i + 1);
  }
  hostile_.put(tree, pd::test::make_leaf(tree, eras, values));
  set_writeset_tree(tree);
  EXPECT_TRUE(expect(part::writeset, error_class::missing).hides);
}

// The same on the largest device that there is: it may take what the format's limits take.
TEST_F(HostileMetadata, WritesetsAtTheirLimitOnTheLargestDevice) {
  image_.grow_device(pd::max_metadata_blocks);
  sound_ = check({});
  ASSERT_EQ(sound_.findings, 0u);
  memory_allowance_ = 64 << 20;
  const auto root = hostile_.take(), bitset = hostile_.take();
  const auto leaves = hostile_.take(20);
  hostile_.put_internal(root, leaves, 1, 201);
  hostile_.put_pointers(bitset, 0, {});
  for (std::size_t i = 0; i < leaves.size(); ++i)
    hostile_.put_writesets(leaves[i], 1 + i * 201, 201, max_origin_blocks, bitset);
  set_writeset_tree(root);
  EXPECT_TRUE(expect(part::writeset, error_class::cross_linked).hides);
}

TEST_F(HostileMetadata, AnOriginAtItsLimitOnTheLargestDevice) {
  image_.grow_device(pd::max_metadata_blocks);
  sound_ = check({});
  ASSERT_EQ(sound_.findings, 0u);
  memory_allowance_ = 64 << 20;
  hostile_.superblock([](superblock& sb) { sb.nr_blocks = max_origin_blocks; });
  EXPECT_TRUE(expect(part::era_array, error_class::missing).hides);
}

TEST_F(HostileMetadata, ASpaceMapOfAnySize) {
  for (const std::uint64_t blocks :
       {std::uint64_t{0}, std::uint64_t{1025}, pd::max_metadata_blocks, std::uint64_t{1} << 32,
        std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    hostile_.superblock([&](superblock& sb) { sb.space_map.nr_blocks = blocks; });
    EXPECT_TRUE(expect(part::space_map, error_class::bad_value, false).fatal) << blocks;
  }
}

TEST_F(HostileMetadata, ASpaceMapWithOneBitmapForEverything) {
  image_.grow_device(pd::max_metadata_blocks);
  sound_ = check({});
  ASSERT_EQ(sound_.findings, 0u);
  hostile_.superblock([](superblock& sb) { sb.space_map.nr_blocks = pd::max_metadata_blocks; });
  hostile_.index([](pd::index_block& index) {
    for (auto& entry : index.entries) entry = index.entries[0];
  });
  EXPECT_EQ(expect(part::space_map, error_class::cross_linked, false).expected,
            pd::max_bitmaps - 1);
}

TEST_F(HostileMetadata, ATreeOfLargeCountsThatReturnsToItsRoot) {
  const auto n = hostile_.take(2);
  hostile_.put_internal(n[0], {n[1], n[1], n[0]}, 0, 300);
  hostile_.put_internal(n[1], {n[0]});
  hostile_.superblock([&](superblock& sb) { sb.space_map.ref_count_root = n[0].value; });
  EXPECT_TRUE(expect(part::space_map, error_class::cross_linked, false).fatal);
}

// Nothing that a kernel writes has three references: the counts' tree is tried here.
TEST_F(HostileMetadata, LargeCounts) {
  const auto leaf = hostile_.take();
  const std::uint64_t array = image_.blocks()[0].as<superblock>().era_array_root;
  const auto with = [&](const std::vector<std::uint64_t>& blocks, std::uint32_t count) {
    hostile_.put(leaf,
                 pd::test::make_leaf(leaf, blocks, std::vector<pd::le32>(blocks.size(), count)));
    hostile_.superblock([&](superblock& sb) { sb.space_map.ref_count_root = leaf.value; });
  };
  const auto old_root = image_.blocks()[0].as<superblock>().space_map.ref_count_root;
  hostile_.bitmap([&](pd::bitmap_block& bitmap) {
    pd::set_count(bitmap, static_cast<std::uint32_t>(array), pd::count_in_tree);
    pd::set_count(bitmap, static_cast<std::uint32_t>(old_root), 0);
    pd::set_count(bitmap, static_cast<std::uint32_t>(leaf.value), 1);
  });
  const auto free = hostile_.take();
  hostile_.index([&](pd::index_block& index) { index.entries[0].none_free_before = 0; });

  for (const std::uint32_t count : {3u, 4u, ~0u}) {
    with({array}, count);
    EXPECT_FALSE(expect(part::reference_counts, error_class::count_too_high, false).fatal) << count;
  }
  for (const std::uint32_t count : {0u, 1u, 2u}) {
    with({array}, count);
    expect(part::space_map, error_class::bad_value, false);
  }
  with({}, 3);
  expect(part::space_map, error_class::missing, false);
  with({std::min(array, free.value), std::max(array, free.value)}, 3);
  expect(part::space_map, error_class::bad_value, false);
  with({array, 1024}, 3);
  expect(part::space_map, error_class::bad_value, false);
  with({array, ~std::uint64_t{0}}, 3);
  EXPECT_TRUE(check({}).fatal);
}

}  // namespace
}  // namespace era::test
