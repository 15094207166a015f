// SPDX-License-Identifier: GPL-3.0-or-later
// An earlier file is replaced as a whole, and keeps its owner and attributes, or is overwritten if
// it cannot be replaced: whichever call fails.
#include "era/commands/output.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "era/testing/output_directory.h"
#include "persistent-data/format/le.h"

namespace era {
namespace {

namespace fs = std::filesystem;

class OutputReplaces : public test::output_directory {};

// --- Attributes.

// The list of a file or, for a directory, that of its new files; empty if there is none.
std::string access_list(const std::string& of, bool of_new_files = false) {
  std::string list(1000, '?');
  const ssize_t size =
      ::getxattr(of.c_str(), of_new_files ? "system.posix_acl_default" : "system.posix_acl_access",
                 list.data(), list.size());
  list.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return list;
}

// Sets a list: the owner and user 4711 may write, the group may read, others may not.
bool set_access_list(const std::string& of, bool of_new_files = false) {
  struct entry {
    pd::le16 tag, permissions;
    pd::le32 id;
  };
  struct {
    pd::le32 version = 2;
    entry entries[5] = {{0x01, 6, 0xffffffff},
                        {0x02, 6, 4711},
                        {0x04, 4, 0xffffffff},
                        {0x10, 6, 0xffffffff},
                        {0x20, 0, 0xffffffff}};
  } list;
  return ::setxattr(of.c_str(),
                    of_new_files ? "system.posix_acl_default" : "system.posix_acl_access", &list,
                    sizeof list, 0) == 0;
}

std::string user_attribute(const std::string& of) {
  std::string value(100, '?');
  const ssize_t size = ::getxattr(of.c_str(), "user.comment", value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return value;
}

TEST_F(OutputReplaces, KeepsTheOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  std::ofstream(path("old")) << "old";
  ASSERT_EQ(::chown(path("old").c_str(), 4711, 4712), 0);
  ASSERT_EQ(::chmod(path("old").c_str(), 0640), 0);
  const ino_t before = inode(path("old"));
  write_whole(path("old"), "new");
  struct stat status {};
  ASSERT_EQ(::stat(path("old").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 4711u);
  EXPECT_EQ(status.st_gid, 4712u);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_NE(status.st_ino, before);
}

TEST_F(OutputReplaces, KeepsAccessListsAndAttributes) {
  std::ofstream(path("old")) << "old";
  const std::string comment = "kept";
  if (!set_access_list(path("old")) ||
      ::setxattr(path("old").c_str(), "user.comment", comment.data(), comment.size(), 0) != 0)
    GTEST_SKIP() << "no extended attributes here: " << std::strerror(errno);
  const std::string list = access_list(path("old"));
  const ino_t before = inode(path("old"));
  ASSERT_NE(list, "");
  write_whole(path("old"), "new");
  EXPECT_EQ(access_list(path("old")), list);
  EXPECT_EQ(user_attribute(path("old")), comment);
  EXPECT_EQ(fs::status(path("old")).permissions(), fs::perms(0660));
  EXPECT_NE(inode(path("old")), before);
}

// A directory says who may use its new files. That is nothing to a file that was there before.
TEST_F(OutputReplaces, TakesTheListOfItsDirectoryIfItIsNew) {
  std::ofstream(path("old")) << "old";
  if (!set_access_list(directory_.string(), true))
    GTEST_SKIP() << "no access lists here: " << std::strerror(errno);
  std::ofstream(path("like this")) << "x";
  write_whole(path("new"), "new");
  EXPECT_NE(access_list(path("new")), "");
  EXPECT_EQ(access_list(path("new")), access_list(path("like this")));
  EXPECT_EQ(fs::status(path("new")).permissions(), fs::status(path("like this")).permissions());
  const fs::perms before = fs::status(path("old")).permissions();
  write_whole(path("old"), "new");
  EXPECT_EQ(access_list(path("old")), "");
  EXPECT_EQ(fs::status(path("old")).permissions(), before);
}

// --- Calls that fail, and their order.

class watched_calls final : public pd::system_calls {
 public:
  // The calls: fsync of a file or directory, rename, pwrite.
  std::vector<std::string> log;
  int fsync_error = 0, rename_error = 0, owner_error = 0, room_error = 0;
  int interruptions = 0;
  // The first is 1. Fails with EIO; later ones, too, if that is set. Or stops the program there.
  int failing_write = 0, writes = 0;
  bool fails_for_good = false, stops = false;
  struct stopped {};

  int fsync(int fd) override {
    struct stat status {};
    ::fstat(fd, &status);
    log.push_back(S_ISDIR(status.st_mode) ? "fsync directory" : "fsync file");
    errno = interruptions > 0 ? EINTR : fsync_error;
    if (interruptions > 0) return --interruptions, -1;
    return fsync_error != 0 ? -1 : system_calls::fsync(fd);
  }
  int renameat(int from_directory, const char* from, int to_directory, const char* to) override {
    log.push_back("rename");
    errno = rename_error;
    return rename_error != 0 ? -1 : system_calls::renameat(from_directory, from, to_directory, to);
  }
  int fchown(int fd, uid_t owner, gid_t group) override {
    errno = owner_error;
    return owner_error != 0 ? -1 : system_calls::fchown(fd, owner, group);
  }
  int fallocate(int fd, int mode, off_t offset, off_t bytes) override {
    errno = room_error;
    return room_error != 0 ? -1 : system_calls::fallocate(fd, mode, offset, bytes);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) override {
    log.push_back("pwrite");
    ++writes;
    const bool fails =
        fails_for_good ? failing_write != 0 && writes >= failing_write : writes == failing_write;
    if (fails && stops) throw stopped{};
    errno = EIO;
    return fails ? -1 : system_calls::pwrite(fd, from, bytes, offset);
  }
};

using calls_log = std::vector<std::string>;

TEST_F(OutputReplaces, IsOnDiskBeforeItHasItsName) {
  watched_calls calls;
  write_whole(path("new"), "new", calls);
  EXPECT_EQ(calls.log, (calls_log{"fsync file", "rename", "fsync directory"}));
}

TEST_F(OutputReplaces, FlushesAgainAfterASignal) {
  watched_calls calls;
  calls.interruptions = 2;
  write_whole(path("new"), "new", calls);
  EXPECT_EQ(calls.log,
            (calls_log{"fsync file", "fsync file", "fsync file", "rename", "fsync directory"}));
}

TEST_F(OutputReplaces, KeepsAnEarlierFileIfItCannotBeFlushedOrRenamed) {
  for (const bool is_rename : {false, true})
    for (const char* name : {"old", "new"}) {
      std::ofstream(path("old")) << "old";
      watched_calls calls;
      (is_rename ? calls.rename_error : calls.fsync_error) = EIO;
      EXPECT_EQ(commit_error(path(name), "text", calls),
                "cannot write " + path(name) + ": Input/output error");
      EXPECT_EQ(content(path("old")), "old");
      EXPECT_EQ(files(), 1u);
    }
}

// Somebody else's file in a sticky directory, or one that is a mount point.
TEST_F(OutputReplaces, OverwritesAFileThatCannotBeReplaced) {
  for (const int error : {EPERM, EACCES, EBUSY}) {
    std::ofstream(path("old")) << std::string(3000, 'o');
    const ino_t before = inode(path("old"));
    watched_calls calls;
    calls.rename_error = error;
    const std::string text = "new, and longer than the mark at its beginning" + big_text();
    write_whole(path("old"), text, calls);
    EXPECT_TRUE(content(path("old")) == text);
    EXPECT_EQ(inode(path("old")), before);
    EXPECT_EQ(files(), 1u);
    // A new one has nothing to be overwritten.
    EXPECT_EQ(commit_error(path("new"), "text", calls),
              "cannot write " + path("new") + ": " + std::strerror(error));
    EXPECT_EQ(files(), 1u);
  }
}

TEST_F(OutputReplaces, OverwritesAFileWhoseOwnerCannotBeKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  std::ofstream(path("old")) << "old";
  ASSERT_EQ(::chown(path("old").c_str(), 4711, 4712), 0);
  const ino_t before = inode(path("old"));
  watched_calls calls;
  calls.owner_error = EPERM;
  write_whole(path("old"), "new", calls);
  struct stat status {};
  ASSERT_EQ(::stat(path("old").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 4711u);
  EXPECT_EQ(status.st_ino, before);
  EXPECT_EQ(content(path("old")), "new");
  EXPECT_EQ(files(), 1u);
}

// It may have any length: shorter than the mark, and than what is overwritten.
TEST_F(OutputReplaces, OverwritesByAnyText) {
  for (const std::size_t size : {0u, 1u, 59u, 60u, 61u, 100u, 3000000u}) {
    std::ofstream(path("old")) << std::string(1000, 'o');
    watched_calls calls;
    calls.rename_error = EPERM;
    const std::string text = big_text().substr(0, size);
    write_whole(path("old"), text, calls);
    EXPECT_TRUE(content(path("old")) == text) << size;
  }
}

// The mark is flushed before anything else is written, and taken away after all else is flushed.
TEST_F(OutputReplaces, OverwritesInOrder) {
  std::ofstream(path("old")) << std::string(1000, 'o');
  watched_calls calls;
  calls.rename_error = EPERM;
  write_whole(path("old"), big_text().substr(0, 1000), calls);
  EXPECT_EQ(calls.log, (calls_log{"fsync file", "rename", "pwrite", "fsync file", "pwrite",
                                  "fsync file", "pwrite", "fsync file"}));
}

// Whichever write fails, for once or for good, or is the last one of a program that is killed: an
// incomplete file is never taken for a whole one, nor for an empty one.
TEST_F(OutputReplaces, SaysThatItIsIncomplete) {
  const std::string mark = "incomplete: the program that was writing this file was stopped\n";
  const std::string old_text(5000000, 'o'), text = big_text();
  for (const bool for_good : {false, true})
    for (const bool stops : {false, true})
      for (int n = 1;; ++n) {
        SCOPED_TRACE(::testing::Message() << n << for_good << stops);
        std::ofstream(path("old")) << old_text;
        watched_calls calls;
        calls.rename_error = EPERM;
        calls.failing_write = n;
        calls.fails_for_good = for_good;
        calls.stops = stops;
        std::string error;
        try {
          error = commit_error(path("old"), text, calls);
        } catch (const watched_calls::stopped&) {
          error = "stopped";
        }
        const std::string now = content(path("old"));
        if (calls.writes < n) {
          EXPECT_EQ(error, "");
          EXPECT_TRUE(now == text);
          EXPECT_GT(n, 4);
          break;
        }
        EXPECT_EQ(files(), 1u);
        if (n == 1) {
          EXPECT_TRUE(now == old_text);
          EXPECT_EQ(error,
                    stops ? "stopped" : "cannot write " + path("old") + ": Input/output error");
        } else {
          EXPECT_EQ(now.substr(0, mark.size()), mark);
          EXPECT_EQ(error, stops ? "stopped"
                                 : "cannot write " + path("old") +
                                       ": Input/output error; what it held before is lost, and its "
                                       "first line says that it is incomplete");
        }
      }
}

TEST_F(OutputReplaces, KeepsAnEarlierFileIfThereIsNoRoomToOverwriteIt) {
  for (const int error : {ENOSPC, EDQUOT, EFBIG, EIO}) {
    std::ofstream(path("old")) << "old";
    watched_calls calls;
    calls.rename_error = EPERM;
    calls.room_error = error;
    EXPECT_EQ(commit_error(path("old"), big_text(), calls),
              "cannot write " + path("old") + ": " + std::strerror(error));
    EXPECT_EQ(content(path("old")), "old");
    EXPECT_EQ(calls.writes, 0);
  }
}

TEST_F(OutputReplaces, OverwritesWhereRoomCannotBeReserved) {
  std::ofstream(path("old")) << "old";
  watched_calls calls;
  calls.rename_error = EPERM;
  calls.room_error = EOPNOTSUPP;
  write_whole(path("old"), big_text(), calls);
  EXPECT_TRUE(content(path("old")) == big_text());
}

// --- Rights. As root, the test becomes somebody else for a while.

class somebody_else {
 public:
  somebody_else() : was_root_(::geteuid() == 0) {
    became_ = !was_root_ || (::setegid(65534) == 0 && ::seteuid(65534) == 0);
  }
  ~somebody_else() {
    if (was_root_ && (::seteuid(0) != 0 || ::setegid(0) != 0)) std::abort();
  }
  bool became() const noexcept { return became_; }
  static void give(const std::string& path) {
    if (::geteuid() == 0 && ::chown(path.c_str(), 65534, 65534) != 0) std::abort();
  }

 private:
  bool was_root_, became_ = false;
};

TEST_F(OutputReplaces, OverwritesAFileInADirectoryThatMustNotBeWritten) {
  std::ofstream(path("old")) << "old";
  somebody_else::give(path("old"));
  ::chmod(path("old").c_str(), 0620);
  ::chmod(directory_.string().c_str(), 0555);
  const ino_t before = inode(path("old"));
  {
    const somebody_else me;
    if (!me.became()) GTEST_SKIP() << "cannot become a user who is not root";
    {
      output out(path("old"));
      out.write("half");
    }
    EXPECT_EQ(error_of(path("new")), "cannot write " + path("new") + ": Permission denied");
    write_whole(path("old"), "new");
  }
  ::chmod(directory_.string().c_str(), 0755);
  EXPECT_EQ(content(path("old")), "new");
  EXPECT_EQ(inode(path("old")), before);
  EXPECT_EQ(fs::status(path("old")).permissions(), fs::perms(0620));
  EXPECT_EQ(files(), 1u);
}

// The temporary file is where TMPDIR says.
TEST_F(OutputReplaces, NamesTheDirectoryOfTemporaryFiles) {
  std::ofstream(path("old")) << "old";
  somebody_else::give(path("old"));
  ::chmod(directory_.string().c_str(), 0555);
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  ::setenv("TMPDIR", path("nowhere").c_str(), 1);
  std::string error;
  {
    const somebody_else me;
    if (me.became()) error = error_of(path("old"));
  }
  before ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
  ::chmod(directory_.string().c_str(), 0755);
  if (error.empty()) GTEST_SKIP() << "cannot become a user who is not root";
  EXPECT_EQ(error, "cannot write a temporary file in " + path("nowhere") +
                       ": No such file or directory; name another directory in TMPDIR");
  EXPECT_EQ(content(path("old")), "old");
}

// One that may be written and entered, and not read.
TEST_F(OutputReplaces, WritesIntoADirectoryThatMustNotBeRead) {
  somebody_else::give(directory_.string());
  ::chmod(directory_.string().c_str(), 0333);
  {
    const somebody_else me;
    if (!me.became()) GTEST_SKIP() << "cannot become a user who is not root";
    write_whole(path("new"), "new");
  }
  ::chmod(directory_.string().c_str(), 0755);
  EXPECT_EQ(content(path("new")), "new");
}

// Nobody may open the new file while it is written whom the earlier one keeps out.
TEST_F(OutputReplaces, IsSecretWhileItIsWritten) {
  std::ofstream(path("old")) << "old";
  ::chmod(path("old").c_str(), 0600);
  output out(path("old"));
  for (const auto& entry : fs::directory_iterator(directory_.string()))
    EXPECT_EQ(entry.status().permissions(), fs::perms(0600)) << entry.path();
  EXPECT_EQ(files(), 2u);
}

}  // namespace
}  // namespace era
