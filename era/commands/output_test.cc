// SPDX-License-Identifier: GPL-3.0-or-later
// A file appears whole or not at all.
#include "era/commands/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "era/testing/output_directory.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/loop_devices.h"

namespace era {
namespace {

namespace fs = std::filesystem;

class Output : public test::output_directory {};

TEST_F(Output, AppearsWithItsCommit) {
  output out(path("new"));
  out.write("hello, ");
  out.write("world");
  EXPECT_FALSE(fs::exists(path("new")));
  out.commit();
  EXPECT_EQ(content(path("new")), "hello, world");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Output, GoesAwayWithoutACommit) {
  { output(path("new")).write("half"); }
  EXPECT_EQ(files(), 0u);
}

TEST_F(Output, KeepsAnEarlierFileUntilItsCommit) {
  std::ofstream(path("old")) << "old";
  ::chmod(path("old").c_str(), 0640);
  { output(path("old")).write("half"); }
  EXPECT_EQ(content(path("old")), "old");
  output out(path("old"));
  out.write("new");
  out.commit();
  EXPECT_EQ(content(path("old")), "new");
  EXPECT_EQ(fs::status(path("old")).permissions(), fs::perms(0640));
  EXPECT_EQ(files(), 1u);
}

TEST_F(Output, HasTheModeThatNewFilesHave) {
  const mode_t before = ::umask(027);
  {
    output out(path("new"));
    out.commit();
  }
  ::umask(before);
  EXPECT_EQ(fs::status(path("new")).permissions(), fs::perms(0640));
}

// As a network file system on which there is no room any longer. The descriptor is closed all the
// same, and is not standard output itself.
TEST_F(Output, TellsWhatOnlyAClosedDescriptorTells) {
  class full_at_close final : public pd::system_calls {
   public:
    int close(int fd) override {
      closed = fd;
      system_calls::close(fd);
      errno = ENOSPC;
      return -1;
    }
    int closed = -1;
  } calls;
  try {
    output out("", calls);
    out.commit();
    FAIL();
  } catch (const pd::device_error& e) {
    EXPECT_STREQ(e.what(), "cannot write standard output: No space left on device");
  }
  EXPECT_GT(calls.closed, STDERR_FILENO);
  EXPECT_NE(::fcntl(STDOUT_FILENO, F_GETFD), -1);
}

TEST_F(Output, WritesThroughALink) {
  std::ofstream(path("target")) << "old";
  fs::create_symlink("target", path("link"));
  output out(path("link"));
  out.write("new");
  out.commit();
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(content(path("target")), "new");
}

TEST_F(Output, NamesWhatItCannotWrite) {
  try {
    output out(path("no/such/directory"));
    FAIL();
  } catch (const pd::device_error& e) {
    EXPECT_NE(std::string(e.what()).find("no/such/directory"), std::string::npos);
  }
  EXPECT_THROW(output out(directory_.string()), pd::device_error);
}

TEST_F(Output, SaysThatADeviceIsFull) {
  output out("/dev/full");
  EXPECT_THROW(out.write("text"), pd::device_error);
}

TEST_F(Output, TellsAClosedPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  output out("/proc/self/fd/" + std::to_string(ends[1]));
  ::close(ends[1]);
  EXPECT_THROW(out.write("text"), pd::closed_pipe);
  std::signal(SIGPIPE, before);
}

// --- Links, names and descriptors.

TEST_F(Output, CreatesWhatALinkNames) {
  fs::create_directory(path("elsewhere"));
  fs::create_symlink("elsewhere/target", path("link"));
  fs::create_symlink(path("link"), path("link to link"));
  {
    output out(path("link to link"));
    out.write("new");
    out.commit();
  }
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_TRUE(fs::is_symlink(path("link to link")));
  EXPECT_EQ(content(path("elsewhere/target")), "new");
  EXPECT_EQ(files(), 3u);
  EXPECT_EQ(error_of(path("nowhere/target")),
            "cannot write " + path("nowhere/target") + ": No such file or directory");
  fs::create_symlink("nowhere/target", path("broken"));
  EXPECT_EQ(error_of(path("broken")),
            "cannot write " + path("broken") + ": No such file or directory");
}

TEST_F(Output, FollowsLinksOnlySoFar) {
  fs::create_symlink("b", path("a"));
  fs::create_symlink("a", path("b"));
  EXPECT_EQ(error_of(path("a")),
            "cannot write " + path("a") + ": Too many levels of symbolic links");
}

TEST_F(Output, TakesNamesAsLongAsTheyCanBe) {
  for (const std::size_t size : {248u, 249u, 255u}) {
    const std::string name(size, 'n');
    for (const char* text : {"first", "second"}) {
      output out(path(name.c_str()));
      out.write(text);
      out.commit();
      EXPECT_EQ(content(path(name.c_str())), text);
    }
  }
  EXPECT_EQ(files(), 3u);
  const std::string longer = path(std::string(256, 'n').c_str());
  EXPECT_EQ(error_of(longer), "cannot write " + longer + ": File name too long");
}

TEST_F(Output, DirectoriesAreNoFiles) {
  for (const std::string& name : {directory_.string(), directory_.string() + "/", path(".")})
    EXPECT_EQ(error_of(name), "cannot write " + name + ": Is a directory");
  EXPECT_EQ(error_of(path("new/")), "cannot write " + path("new/") + ": No such file or directory");
  std::ofstream(path("file")) << "old";
  EXPECT_EQ(error_of(path("file/")), "cannot write " + path("file/") + ": Not a directory");
}

// As a shell's >> leaves it: what is there stays, under every name of the descriptor.
TEST_F(Output, AppendsToADescriptor) {
  std::ofstream(path("log")) << "old\n";
  const pd::unique_fd fd(::open(path("log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const std::string number = std::to_string(fd.get());
  fs::create_symlink("/dev/fd/" + number, path("link"));
  for (const std::string& name : {"/proc/self/fd/" + number, "/dev/fd/" + number,
                                  "/proc/thread-self/fd/" + number, path("link")}) {
    output out(name);
    out.write("new\n");
    out.commit();
  }
  EXPECT_EQ(content(path("log")), "old\nnew\nnew\nnew\nnew\n");
  EXPECT_EQ(files(), 2u);
}

// As a shell's > leaves it for two commands.
TEST_F(Output, WritesWhereADescriptorStands) {
  const pd::unique_fd fd(::open(path("log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  ASSERT_EQ(::write(fd.get(), "first ", 6), 6);
  {
    output out("/dev/fd/" + std::to_string(fd.get()));
    out.write("second ");
    out.commit();
  }
  ASSERT_EQ(::write(fd.get(), "third", 5), 5);
  EXPECT_EQ(content(path("log")), "first second third");
}

TEST_F(Output, ADescriptorThatIsNotOpen) {
  EXPECT_EQ(error_of("/proc/self/fd/999"), "cannot write /proc/self/fd/999: Bad file descriptor");
}

// --- In use.

TEST_F(Output, RefusesAFileThatIsInUse) {
  std::ofstream(path("old")) << "old";
  const pd::unique_fd other(::open(path("old").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_SH), 0);
  EXPECT_EQ(error_of(path("old")),
            path("old") + ": is being read or written by another tool; wait until it has finished");
  ASSERT_EQ(::flock(other.get(), LOCK_UN), 0);
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_start = 101;
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(other.get(), F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(error_of(path("old")), path("old") +
                                       ": is in use: another program, such as a virtual machine, "
                                       "holds a lock on it; stop that first");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Output, IsInUseItself) {
  std::ofstream(path("old")) << "old";
  {
    output first(path("old"));
    EXPECT_NE(error_of(path("old")), "");
    EXPECT_EQ(error_of(path("other")), "");
  }
  EXPECT_EQ(error_of(path("old")), "");
}

TEST_F(Output, RefusesWhatALoopDeviceLiesOn) {
  std::ofstream(path("old")) << "old";
  fs::resize_file(path("old"), 1 << 20);
  pd::test::loop_devices loops;
  const std::string loop = loops.attach(path("old"));
  if (loop.empty()) GTEST_SKIP() << loops.why_not();
  EXPECT_EQ(error_of(path("old")), path("old") + ": is in use: " + loop +
                                       " lies on it; detach that first: losetup --detach " + loop);
  write_whole(loop, "into the device");
  EXPECT_EQ(content(path("old")).substr(0, 15), "into the device");
  const pd::unique_fd mounted(::open(loop.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  EXPECT_EQ(error_of(loop), loop +
                                ": is in use: mounted, or held by device-mapper; stop its user "
                                "first");
}

TEST_F(Output, IsNotTheMetadata) {
  std::ofstream(path("metadata")) << std::string(8192, 'm');
  std::ofstream(path("other")) << "o";
  const pd::block_device metadata(path("metadata"), pd::access::reading);
  EXPECT_NO_THROW(require_other_output(metadata, "the metadata", path("other")));
  EXPECT_NO_THROW(require_other_output(metadata, "the metadata", path("none")));
  EXPECT_NO_THROW(require_other_output(metadata, "the metadata", ""));
  EXPECT_FALSE(metadata.overlaps(STDOUT_FILENO));
  const pd::unique_fd fd(::open(path("metadata").c_str(), O_RDWR | O_CLOEXEC));
  for (const std::string& name : {path("metadata"), "/dev/fd/" + std::to_string(fd.get())})
    EXPECT_THROW(require_other_output(metadata, "the metadata", name), pd::device_error) << name;
  EXPECT_TRUE(metadata.overlaps(fd.get()));
}

// A child ends itself by the signal while its file is half written.
TEST_F(Output, GoesAwayWithASignal) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGXCPU}) {
    const auto child = [&] {
      output out(path("new")), other(path("other"));
      { output gone(path("third")); }
      out.write("half");
      ::raise(signal);
    };
    EXPECT_EXIT(child(), ::testing::KilledBySignal(signal), "");
    EXPECT_EQ(files(), 0u) << signal;
  }
}

}  // namespace
}  // namespace era
