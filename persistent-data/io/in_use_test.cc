// SPDX-License-Identifier: GPL-3.0-or-later
// Locks of these tools and of others, and loop devices: each keeps the right ones from a file.
#include "persistent-data/io/in_use.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/output_device.h"
#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

namespace fs = std::filesystem;

class InUse : public testing::Test {
 protected:
  InUse() { path = directory.empty_file("file", 1 << 20); }
  ~InUse() override {
    for (const int fd : opened_) ::close(fd);
  }

  int open(const std::string& name, int flags = O_RDWR) {
    opened_.push_back(::open(name.c_str(), flags | O_CLOEXEC));
    EXPECT_GE(opened_.back(), 0) << name;
    return opened_.back();
  }

  // A lock of another program on the file; count 0: to its end. Returns its descriptor.
  int lock(short type, off_t first, off_t count) {
    const int fd = open(path);
    set(fd, type, first, count);
    return fd;
  }
  static void set(int fd, short type, off_t first, off_t count) {
    struct flock wanted {};
    wanted.l_type = type;
    wanted.l_whence = SEEK_SET;
    wanted.l_start = first;
    wanted.l_len = count;
    ASSERT_EQ(::fcntl(fd, F_OFD_SETLK, &wanted), 0);
  }
  static void unlock(int fd) { set(fd, F_UNLCK, 0, 0); }

  // The message without the name it begins with; empty if the claim is granted. Releases the claim.
  template <class Claim>
  std::string refusal(Claim claim, int flags, const std::string& name) {
    const int fd = ::open(name.c_str(), flags | O_CLOEXEC);
    EXPECT_GE(fd, 0);
    std::string message;
    try {
      claim(fd, name);
    } catch (const device_error& e) {
      message = e.what();
      EXPECT_EQ(message.substr(0, name.size() + 2), name + ": ");
      message.erase(0, name.size() + 2);
    }
    ::close(fd);
    return message;
  }
  std::string read_refusal(const std::string& sysfs = default_sysfs) {
    return read_refusal_of(path, sysfs);
  }
  std::string read_refusal_of(const std::string& name, const std::string& sysfs = default_sysfs) {
    return refusal([&](int fd, const auto& n) { claim_for_reading(fd, n, sysfs); }, O_RDONLY, name);
  }
  std::string write_refusal(const std::string& sysfs = default_sysfs) {
    return write_refusal_of(path, sysfs);
  }
  std::string write_refusal_of(const std::string& name, const std::string& sysfs = default_sysfs) {
    return refusal([&](int fd, const auto& n) { claim_for_writing(fd, n, sysfs); }, O_RDWR, name);
  }

  test::scratch_directory directory;
  std::string path;

 private:
  std::vector<int> opened_;
};

const std::string locked =
    "is in use: another program, such as a virtual machine, holds a lock on it; stop that first";

TEST_F(InUse, NobodyIsInTheWay) {
  EXPECT_EQ(read_refusal(), "");
  EXPECT_EQ(write_refusal(), "");
}

TEST_F(InUse, OthersThatWriteTheFile) {
  const int fd = lock(F_WRLCK, 0, 0);
  EXPECT_EQ(read_refusal(), locked);
  EXPECT_EQ(write_refusal(), locked);
  unlock(fd);
  EXPECT_EQ(read_refusal(), "");
  EXPECT_EQ(write_refusal(), "");
}

TEST_F(InUse, OthersThatWriteAPartOfTheFile) {
  lock(F_WRLCK, 5000, 1);
  EXPECT_EQ(read_refusal(), locked);
  EXPECT_EQ(write_refusal(), locked);
}

// The whole file, or the part that begins at the offset a virtual machine says it writes to.
TEST_F(InUse, OthersThatReadTheFile) {
  for (const auto& [first, count] : {std::pair{0, 0}, {0, 1000}, {101, 0}, {101, 500}}) {
    const int fd = lock(F_RDLCK, first, count);
    EXPECT_EQ(read_refusal(), "") << first << ' ' << count;
    EXPECT_EQ(write_refusal(), locked) << first << ' ' << count;
    unlock(fd);
  }
}

// The permissions that qemu takes, or does not share, byte by byte.
TEST_F(InUse, AVirtualMachine) {
  struct permission {
    off_t byte;
    bool keeps_from_reading;
  };
  for (const permission p : {permission{100, false},
                             {101, true},
                             {102, false},
                             {103, true},
                             {200, true},
                             {201, false},
                             {202, false},
                             {203, false}}) {
    const int fd = lock(F_RDLCK, p.byte, 1);
    EXPECT_EQ(read_refusal(), p.keeps_from_reading ? locked : "") << p.byte;
    EXPECT_EQ(write_refusal(), locked) << p.byte;
    unlock(fd);
  }
  // Its locks lie beside each other, as one.
  const int fd = lock(F_RDLCK, 100, 2);
  set(fd, F_RDLCK, 103, 1);
  set(fd, F_RDLCK, 201, 1);
  EXPECT_EQ(read_refusal(), locked);
}

TEST_F(InUse, AProcessIsNamed) {
  int ready[2], done[2];
  ASSERT_EQ(::pipe(ready) | ::pipe(done), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  char byte = 0;
  if (child == 0) {
    ::close(done[1]);
    const int fd = ::open(path.c_str(), O_RDWR);
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    wanted.l_whence = SEEK_SET;
    if (::fcntl(fd, F_SETLK, &wanted) != 0 || ::write(ready[1], &byte, 1) != 1) ::_exit(1);
    ::_exit(::read(done[0], &byte, 1) == 0 ? 0 : 1);
  }
  ::close(ready[1]);
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string named =
      fmt::format("is in use: process {} holds a lock on it; stop that first", child);
  EXPECT_EQ(read_refusal(), named);
  EXPECT_EQ(write_refusal(), named);
  for (const int fd : {ready[0], done[0], done[1]}) ::close(fd);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(write_refusal(), "");
}

TEST_F(InUse, ReadersKeepWritersOutAndNotEachOther) {
  claim_for_reading(open(path, O_RDONLY), path);
  EXPECT_EQ(read_refusal(), "");
  EXPECT_EQ(write_refusal(),
            "is being read or written by another tool; wait until it has finished");
  // Programs that know no flock: one that locks the file, and qemu, which looks for who reads
  // consistent data (100), and who shares neither writing (201) nor resizing (203).
  const auto is_free = [&](short type, off_t first, off_t count) {
    struct flock wanted {};
    wanted.l_type = type;
    wanted.l_whence = SEEK_SET;
    wanted.l_start = first;
    wanted.l_len = count;
    EXPECT_EQ(::fcntl(open(path), F_OFD_GETLK, &wanted), 0);
    return wanted.l_type == F_UNLCK;
  };
  EXPECT_FALSE(is_free(F_WRLCK, 0, 0));
  EXPECT_TRUE(is_free(F_RDLCK, 0, 0));
  for (const off_t byte : {100, 201, 203}) EXPECT_FALSE(is_free(F_WRLCK, byte, 1)) << byte;
  for (const off_t byte : {101, 102, 103, 200, 202}) EXPECT_TRUE(is_free(F_WRLCK, byte, 1)) << byte;
}

TEST_F(InUse, WritersKeepEverybodyOut) {
  const int fd = open(path);
  claim_for_writing(fd, path);
  EXPECT_EQ(read_refusal(), "is being written by another tool; wait until it has finished");
  EXPECT_EQ(write_refusal(),
            "is being read or written by another tool; wait until it has finished");
  ASSERT_EQ(::flock(fd, LOCK_UN), 0);
  EXPECT_EQ(read_refusal(), locked);
  EXPECT_EQ(write_refusal(), locked);
}

TEST_F(InUse, DevicesAskTheSame) {
  lock(F_RDLCK, 101, 1);
  EXPECT_THROW(block_device(path, access::reading), device_error);
  EXPECT_NO_THROW(block_device(path, access::shared));
  EXPECT_THROW(output_device(path, 1), device_error);
}

// In a sysfs of the test's own; the device in it does not exist, and cannot be opened.
TEST_F(InUse, ALoopDeviceThatCannotBeOpened) {
  const fs::path device = directory / "sys/block/loop200001";
  fs::create_directories(device / "loop");
  fs::create_directories(directory / "sys/dev/block");
  fs::create_directory_symlink(device, directory / "sys/dev/block/7:200001");
  std::ofstream(device / "dev") << "7:200001\n";
  std::ofstream(device / "loop/backing_file") << path << '\n';
  const std::string sysfs = directory / "sys";
  EXPECT_EQ(write_refusal(sysfs),
            "is in use: /dev/loop200001 lies on it; detach that first: losetup --detach "
            "/dev/loop200001");
  EXPECT_EQ(read_refusal(sysfs),
            "is in use: /dev/loop200001 lies on it, and is mounted, held by device-mapper, or not "
            "to be opened; stop its user first");
  std::ofstream(device / "ro") << "1\n";
  EXPECT_EQ(read_refusal(sysfs), "");
  EXPECT_NE(write_refusal(sysfs), "");
}

TEST_F(InUse, ALoopDevice) {
  test::loop_devices loops;
  const std::string name = loops.attach(path);
  if (name.empty()) GTEST_SKIP() << loops.why_not();
  const std::string in_the_way =
      fmt::format("is in use: {} lies on it; detach that first: losetup --detach {}", name, name);
  EXPECT_EQ(write_refusal(), in_the_way);
  EXPECT_EQ(read_refusal(), "");
  EXPECT_EQ(read_refusal_of(name), "");
  EXPECT_EQ(write_refusal_of(name), "");
  open(name, O_RDONLY | O_EXCL);
  EXPECT_EQ(read_refusal(),
            fmt::format("is in use: {} lies on it, and is mounted, held by device-mapper, or not "
                        "to be opened; stop its user first",
                        name));
  EXPECT_EQ(write_refusal(), in_the_way);
}

TEST_F(InUse, ALoopDeviceThatIsReadOnly) {
  test::loop_devices loops;
  const std::string name = loops.attach(path, true);
  if (name.empty()) GTEST_SKIP() << loops.why_not();
  open(name, O_RDONLY | O_EXCL);
  EXPECT_EQ(read_refusal(), "");
  EXPECT_NE(write_refusal(), "");
}

// The kernel does not hold a device exclusively for the loop device on it.
TEST_F(InUse, ALoopDeviceOnABlockDevice) {
  test::loop_devices loops;
  const std::string lower = loops.attach(path);
  const std::string upper = lower.empty() ? "" : loops.attach(lower);
  if (upper.empty()) GTEST_SKIP() << loops.why_not();
  EXPECT_EQ(write_refusal_of(lower),
            fmt::format("is in use: {} lies on it; detach that first: losetup --detach {}", upper,
                        upper));
  EXPECT_EQ(read_refusal_of(lower), "");
  EXPECT_EQ(write_refusal_of(upper), "");
  open(upper, O_RDONLY | O_EXCL);
  EXPECT_NE(read_refusal_of(lower), "");
}

// A lock on a device's node, such as qemu takes for a guest's disk.
TEST_F(InUse, ABlockDeviceThatIsLocked) {
  test::loop_devices loops;
  const std::string name = loops.attach(path);
  if (name.empty()) GTEST_SKIP() << loops.why_not();
  set(open(name), F_RDLCK, 101, 1);
  EXPECT_EQ(read_refusal_of(name), locked);
  EXPECT_EQ(write_refusal_of(name), locked);
  EXPECT_THROW(block_device(name, access::reading), device_error);
  EXPECT_THROW(output_device(name, 1), device_error);
}

}  // namespace
}  // namespace persistent_data
