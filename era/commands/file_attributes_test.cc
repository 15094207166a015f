// SPDX-License-Identifier: GPL-3.0-or-later
// The new file gets mode, owner and attributes of the old one, or the copy says that it cannot.
#include "era/commands/file_attributes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "era/testing/output_directory.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

class FileAttributes : public test::output_directory {
 protected:
  pd::unique_fd create(const char* name, mode_t mode) {
    pd::unique_fd fd(::open(path(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ(::fchmod(fd.get(), mode), 0);
    return fd;
  }
  const pd::unique_fd from_ = create("from", 0640), to_ = create("to", 0600);
};

TEST_F(FileAttributes, CopyTheMode) {
  ASSERT_TRUE(copy_attributes(from_.get(), to_.get(), pd::system_calls::real()));
  struct stat status {};
  ASSERT_EQ(::fstat(to_.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(FileAttributes, CopyExtendedAttributes) {
  if (::fsetxattr(from_.get(), "user.note", "kept", 4, 0) != 0)
    GTEST_SKIP() << "the directory for temporary files has no extended attributes";
  ASSERT_TRUE(copy_attributes(from_.get(), to_.get(), pd::system_calls::real()));
  char value[8];
  ASSERT_EQ(::fgetxattr(to_.get(), "user.note", value, sizeof value), 4);
  EXPECT_EQ(std::string(value, 4), "kept");
}

// Only root may give files away.
TEST_F(FileAttributes, ThatCannotBeCopiedAreTold) {
  class refusing final : public pd::system_calls {
    int fchown(int, uid_t, gid_t) override {
      errno = EPERM;
      return -1;
    }
  } calls;
  EXPECT_TRUE(copy_attributes(from_.get(), to_.get(), calls)) << "the owner is the same";
  if (::fchown(from_.get(), 12345, 12345) != 0) GTEST_SKIP() << "needs root";
  EXPECT_FALSE(copy_attributes(from_.get(), to_.get(), calls));
  EXPECT_TRUE(copy_attributes(from_.get(), to_.get(), pd::system_calls::real()));
}

}  // namespace
}  // namespace era
