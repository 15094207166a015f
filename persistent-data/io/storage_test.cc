// SPDX-License-Identifier: GPL-3.0-or-later
// Stacks of devices, in a sysfs of the test's own and as real loop devices.
#include "persistent-data/io/storage.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

namespace fs = std::filesystem;

// Devices as the kernel shows them in sysfs. Their numbers are of no real device.
class Storage : public testing::Test {
 protected:
  Storage() {
    sysfs = directory / "sys";
    fs::create_directories(fs::path(sysfs) / "dev/block");
    fs::create_directories(fs::path(sysfs) / "block");
  }
  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
  }

  // A disk, or a mapped device if it has slaves. Returns its directory.
  fs::path disk(const std::string& name, dev_t number,
                const std::vector<std::string>& slaves = {}) {
    const fs::path device = fs::path(sysfs) / "devices" / name;
    publish(device, number);
    fs::create_directory_symlink(device, fs::path(sysfs) / "block" / name);
    fs::create_directories(device / "slaves");
    for (const std::string& slave : slaves)
      fs::create_directory_symlink(fs::path(sysfs) / "devices" / slave,
                                   device / "slaves" / fs::path(slave).filename());
    return device;
  }

  void partition(const std::string& on, const std::string& name, dev_t number, std::uint64_t start,
                 std::uint64_t sectors) {
    const fs::path device = fs::path(sysfs) / "devices" / on / name;
    publish(device, number);
    write(device / "partition", "1");
    write(device / "start", std::to_string(start));
    write(device / "size", std::to_string(sectors));
  }

  void loop(int minor, const std::string& file, std::uint64_t offset = 0, std::uint64_t limit = 0,
            bool read_only = false) {
    const fs::path device = disk(fmt::format("loop{}", minor), makedev(7, minor));
    write(device / "ro", read_only ? "1" : "0");
    write(device / "loop/backing_file", file);
    write(device / "loop/offset", std::to_string(offset));
    write(device / "loop/sizelimit", std::to_string(limit));
  }

  std::string file(const std::string& name) const {
    std::ofstream((directory / name)).close();
    return directory / name;
  }

  storage device(dev_t number) const { return storage::of_device(number, sysfs); }
  storage at(const std::string& path) const { return storage::at(path, sysfs); }

  // Both ways round.
  static bool overlap(const storage& a, const storage& b) {
    EXPECT_EQ(a.overlaps(b), b.overlaps(a));
    return a.overlaps(b);
  }

  test::scratch_directory directory;
  std::string sysfs;

 private:
  void publish(const fs::path& device, dev_t number) {
    const std::string numbers = fmt::format("{}:{}", major(number), minor(number));
    write(device / "dev", numbers);
    fs::create_directory_symlink(device, fs::path(sysfs) / "dev/block" / numbers);
  }
};

// Major numbers that Linux leaves for experiments.
const dev_t sda = makedev(240, 0), sda1 = makedev(240, 1), sda2 = makedev(240, 2);
const dev_t sdb = makedev(241, 0), mapped0 = makedev(242, 0), mapped1 = makedev(242, 1);
const dev_t mapped2 = makedev(242, 2);

TEST_F(Storage, FilesAreTheSameUnderEveryName) {
  const std::string one = file("one"), other = file("other");
  fs::create_hard_link(one, directory / "hard");
  fs::create_symlink(one, directory / "soft");
  for (const char* name : {"one", "hard", "soft"})
    EXPECT_TRUE(overlap(at(one), at(directory / name))) << name;
  EXPECT_FALSE(overlap(at(one), at(other)));
  EXPECT_FALSE(overlap(at(one), at(directory.string())));
}

TEST_F(Storage, ThatIsNotThereIsNoOther) {
  const std::string none = directory / "none";
  EXPECT_FALSE(overlap(at(none), at(none)));
  EXPECT_FALSE(overlap(at(none), at(file("one"))));
}

TEST_F(Storage, DevicesAreTheirNumbers) {
  disk("sda", sda);
  disk("sdb", sdb);
  EXPECT_TRUE(overlap(device(sda), device(sda)));
  EXPECT_FALSE(overlap(device(sda), device(sdb)));
}

// Without sysfs a device is still itself.
TEST_F(Storage, NeedsNoSysfs) {
  EXPECT_TRUE(storage::of_device(sda, "/nowhere").overlaps(storage::of_device(sda, "/nowhere")));
  EXPECT_FALSE(storage::of_device(sda, "/nowhere").overlaps(storage::of_device(sdb, "/nowhere")));
  EXPECT_TRUE(loop_devices_on(at(file("one")), "/nowhere").empty());
}

TEST_F(Storage, APartitionIsPartOfItsDiskOnly) {
  disk("sda", sda);
  disk("sdb", sdb);
  partition("sda", "sda1", sda1, 2048, 4096);
  partition("sda", "sda2", sda2, 2048 + 4096, 4096);
  EXPECT_TRUE(overlap(device(sda1), device(sda)));
  EXPECT_TRUE(overlap(device(sda2), device(sda)));
  EXPECT_TRUE(overlap(device(sda1), device(sda1)));
  EXPECT_FALSE(overlap(device(sda1), device(sda2)));
  EXPECT_FALSE(overlap(device(sda1), device(sdb)));
}

// An extended partition, which holds a logical one.
TEST_F(Storage, PartitionsOverlapBySectors) {
  disk("sda", sda);
  partition("sda", "sda1", sda1, 2048, 4096);
  partition("sda", "sda5", sda2, 2048 + 4095, 1);
  EXPECT_TRUE(overlap(device(sda1), device(sda2)));
}

TEST_F(Storage, AMappedDeviceLiesOnItsSlaves) {
  disk("sda", sda);
  disk("sdb", sdb);
  disk("dm-0", mapped0, {"sda", "sdb"});
  EXPECT_TRUE(overlap(device(mapped0), device(sda)));
  EXPECT_TRUE(overlap(device(mapped0), device(sdb)));
  EXPECT_TRUE(overlap(device(mapped0), device(mapped0)));
}

// Two logical volumes of one volume group: the usual place of metadata and its repaired copy.
TEST_F(Storage, TwoMappedDevicesOnOneDiskAreApart) {
  disk("sda", sda);
  disk("dm-0", mapped0, {"sda"});
  disk("dm-1", mapped1, {"sda"});
  EXPECT_FALSE(overlap(device(mapped0), device(mapped1)));
}

TEST_F(Storage, StacksAreFollowedDown) {
  disk("sda", sda);
  partition("sda", "sda1", sda1, 2048, 4096);
  disk("dm-0", mapped0, {"sda/sda1"});
  disk("dm-1", mapped1, {"dm-0"});
  disk("dm-2", mapped2, {"dm-0"});
  EXPECT_TRUE(overlap(device(mapped1), device(mapped0)));
  EXPECT_TRUE(overlap(device(mapped1), device(sda1)));
  EXPECT_TRUE(overlap(device(mapped1), device(sda)));
  EXPECT_FALSE(overlap(device(mapped1), device(mapped2)));
  EXPECT_TRUE(device(mapped1).lies_on(sda));
  EXPECT_TRUE(device(mapped1).lies_on(mapped1));
  EXPECT_FALSE(device(sda).lies_on(mapped1));
}

// A circle cannot be; a file system that shows one must not hold anybody up.
TEST_F(Storage, ACircleEnds) {
  disk("dm-0", mapped0);
  disk("dm-1", mapped1, {"dm-0"});
  fs::create_directory_symlink(fs::path(sysfs) / "devices/dm-1",
                               fs::path(sysfs) / "devices/dm-0/slaves/dm-1");
  EXPECT_TRUE(overlap(device(mapped0), device(mapped1)));
}

TEST_F(Storage, ALoopDeviceLiesOnItsFile) {
  const std::string one = file("one"), other = file("other");
  loop(200001, one);
  loop(200002, other);
  EXPECT_TRUE(overlap(device(makedev(7, 200001)), at(one)));
  EXPECT_FALSE(overlap(device(makedev(7, 200001)), at(other)));
  EXPECT_FALSE(overlap(device(makedev(7, 200001)), device(makedev(7, 200002))));
}

TEST_F(Storage, TwoLoopDevicesOnOneFileAreTheSame) {
  const std::string one = file("one");
  loop(200001, one);
  loop(200002, one);
  EXPECT_TRUE(overlap(device(makedev(7, 200001)), device(makedev(7, 200002))));
}

TEST_F(Storage, ExceptOnDifferentParts) {
  const std::string one = file("one");
  loop(200001, one, 0, 1 << 20);
  loop(200002, one, 1 << 20);
  loop(200003, one, (1 << 20) - 512, 512);
  EXPECT_FALSE(overlap(device(makedev(7, 200001)), device(makedev(7, 200002))));
  EXPECT_TRUE(overlap(device(makedev(7, 200001)), device(makedev(7, 200003))));
  EXPECT_FALSE(overlap(device(makedev(7, 200002)), device(makedev(7, 200003))));
  EXPECT_TRUE(overlap(device(makedev(7, 200002)), at(one)));
}

// Offsets of a partition of a loop device on a part of a file add up.
TEST_F(Storage, APartitionOfALoopDevice) {
  const std::string one = file("one");
  loop(200001, one, 4096);
  partition("loop200001", "loop200001p1", sda1, 8, 8);
  loop(200002, one, 8192, 4096);
  loop(200003, one, 4096, 4096);
  EXPECT_TRUE(overlap(device(sda1), at(one)));
  EXPECT_TRUE(overlap(device(sda1), device(makedev(7, 200001))));
  EXPECT_TRUE(overlap(device(sda1), device(makedev(7, 200002))));
  EXPECT_FALSE(overlap(device(sda1), device(makedev(7, 200003))));
}

TEST_F(Storage, FindsTheLoopDevicesOnAFile) {
  const std::string one = file("one"), other = file("other");
  EXPECT_TRUE(loop_devices_on(at(one), sysfs).empty());
  loop(200001, one);
  loop(200002, other);
  loop(200003, one, 4096, 0, true);
  const auto found = loop_devices_on(at(one), sysfs);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "/dev/loop200001");
  EXPECT_FALSE(found[0].read_only);
  EXPECT_EQ(found[1].name, "/dev/loop200003");
  EXPECT_TRUE(found[1].read_only);
}

// A loop device is not in its own way, but in that of another one on the same file.
TEST_F(Storage, FindsTheOtherLoopDevicesOfALoopDevice) {
  const std::string one = file("one");
  loop(200001, one);
  EXPECT_TRUE(loop_devices_on(device(makedev(7, 200001)), sysfs).empty());
  disk("dm-0", mapped0, {"loop200001"});
  EXPECT_TRUE(loop_devices_on(device(mapped0), sysfs).empty());
  loop(200002, one);
  EXPECT_EQ(loop_devices_on(device(makedev(7, 200001)), sysfs).at(0).name, "/dev/loop200002");
}

// One that is not attached has no backing file.
TEST_F(Storage, ALoopDeviceThatIsFreeLiesOnNothing) {
  disk("loop200001", makedev(7, 200001));
  EXPECT_TRUE(loop_devices_on(at(file("one")), sysfs).empty());
  EXPECT_FALSE(overlap(device(makedev(7, 200001)), at(file("one"))));
}

TEST_F(Storage, OfARealLoopDevice) {
  test::loop_devices loops;
  const std::string one = file("one"), other = file("other");
  fs::resize_file(one, 1 << 20);
  const std::string name = loops.attach(one);
  if (name.empty()) GTEST_SKIP() << loops.why_not();
  EXPECT_TRUE(overlap(storage::at(name), storage::at(one)));
  EXPECT_FALSE(overlap(storage::at(name), storage::at(other)));
  const auto found = loop_devices_on(storage::at(one));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, name);
  EXPECT_FALSE(found[0].read_only);
  EXPECT_TRUE(loop_devices_on(storage::at(name)).empty());
  // The device knows its file by number: the name that it was attached by may be another's.
  const std::string hard = directory / "hard";
  fs::create_hard_link(one, hard);
  fs::remove(one);
  fs::rename(other, one);
  EXPECT_TRUE(overlap(storage::at(name), storage::at(hard)));
  EXPECT_FALSE(overlap(storage::at(name), storage::at(one)));
  ASSERT_EQ(loop_devices_on(storage::at(hard)).size(), 1u);
}

// In a chroot or a container, say.
TEST_F(Storage, OfARealLoopDeviceWithoutSysfs) {
  test::loop_devices loops;
  const std::string one = file("one"), other = file("other"), nowhere = directory / "nowhere";
  fs::resize_file(one, 1 << 20);
  const std::string name = loops.attach(one), second = loops.attach(name, true);
  if (second.empty()) GTEST_SKIP() << loops.why_not();
  EXPECT_TRUE(storage::at(second, nowhere).overlaps(storage::at(one, nowhere)));
  EXPECT_FALSE(storage::at(second, nowhere).overlaps(storage::at(other, nowhere)));
  const auto found = loop_devices_on(storage::at(one, nowhere), nowhere);
  ASSERT_EQ(found.size(), 2u);
  for (const loop_device& loop : found) {
    EXPECT_TRUE(loop.name == name || loop.name == second) << loop.name;
    EXPECT_EQ(loop.read_only, loop.name == second);
  }
  EXPECT_EQ(loop_devices_on(storage::at(name, nowhere), nowhere).at(0).name, second);
  EXPECT_TRUE(loop_devices_on(storage::at(other, nowhere), nowhere).empty());
}

}  // namespace
}  // namespace persistent_data
