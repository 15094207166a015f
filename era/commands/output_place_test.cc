// SPDX-License-Identifier: GPL-3.0-or-later
// The file or descriptor that a path names, through links of all kinds.
#include "era/commands/output_place.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "era/testing/output_directory.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

namespace fs = std::filesystem;

class OutputPlace : public test::output_directory {
 protected:
  std::string real() const { return fs::canonical(path("")).string(); }
  void expect_file(const std::string& of, const std::string& directory, const std::string& name) {
    const output_place place = find_output_place(of);
    EXPECT_LT(place.descriptor, 0) << of;
    EXPECT_EQ(place.directory, directory) << of;
    EXPECT_EQ(place.name, name) << of;
  }
};

TEST_F(OutputPlace, OfAFileIsItsDirectoryAndName) {
  expect_file(path("new"), real(), "new");
  std::ofstream(path("old")) << "text";
  expect_file(path("old"), real(), "old");
  expect_file("new-in-the-working-directory", fs::current_path().string(),
              "new-in-the-working-directory");
}

TEST_F(OutputPlace, OfALinkIsItsTarget) {
  fs::create_directory(path("sub"));
  fs::create_symlink("sub/target", path("relative"));
  fs::create_symlink(path("relative"), path("absolute"));
  for (const char* name : {"relative", "absolute"})
    expect_file(path(name), real() + "/sub", "target");
}

TEST_F(OutputPlace, OfADescriptorIsTheDescriptor) {
  EXPECT_EQ(find_output_place("/dev/stdout").descriptor, 1);
  EXPECT_EQ(find_output_place("/dev/fd/2").descriptor, 2);
  EXPECT_EQ(find_output_place("/proc/self/fd/0").descriptor, 0);
  fs::create_symlink("/dev/stdout", path("link"));
  EXPECT_EQ(find_output_place(path("link")).descriptor, 1);
}

// The kernel's link says "FILE (deleted)" after FILE is removed. Another file may have that name.
TEST_F(OutputPlace, OfAnotherProcessIsItsFileWhileThatHasItsName) {
  std::ofstream(path("file")) << "text";
  const pd::unique_fd fd(::open(path("file").c_str(), O_RDWR | O_CLOEXEC));
  int lives[2];
  ASSERT_EQ(::pipe(lives), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {  // ends with this process, or when this closes the pipe
    char nothing = 0;
    ::close(lives[1]);
    ::_exit(::read(lives[0], &nothing, 1) == 0 ? 0 : 1);
  }
  ::close(lives[0]);
  const std::string link = fmt::format("/proc/{}/fd/{}", child, fd.get());
  expect_file(link, real(), "file");
  fs::remove(path("file"));
  EXPECT_THROW(find_output_place(link), pd::device_error);
  std::ofstream(path("file (deleted)")) << "another";
  EXPECT_THROW(find_output_place(link), pd::device_error);
  ::close(lives[1]);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(OutputPlace, ThatCannotBeIsAnError) {
  fs::create_symlink("b", path("a"));
  fs::create_symlink("a", path("b"));
  std::ofstream(path("file")) << "text";
  for (const char* name : {"none/new", "new/", "a", "file/new", "file/"})
    EXPECT_THROW(find_output_place(path(name)), pd::device_error) << name;
}

}  // namespace
}  // namespace era
