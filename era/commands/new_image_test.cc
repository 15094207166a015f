// SPDX-License-Identifier: GPL-3.0-or-later
// A name that is given to a whole file, once.
#include "era/commands/new_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class NewImage : public ::testing::Test {
 protected:
  static std::string error_of(const std::string& path) {
    try {
      new_image image(path);
      return "";
    } catch (const persistent_data::device_error& e) {
      return e.what();
    }
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_ / ""), fs::directory_iterator()));
  }

  persistent_data::test::scratch_directory directory_;
};

TEST_F(NewImage, HasItsNameWhenItIsWhole) {
  const std::string path = directory_ / "image";
  {
    new_image image(path);
    struct stat status {};
    ASSERT_EQ(::stat(image.temporary_path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    std::ofstream(image.temporary_path()) << "whole";
    EXPECT_FALSE(fs::exists(path));
    image.commit();
  }
  EXPECT_EQ(persistent_data::test::content_of(path), "whole");
  EXPECT_EQ(files(), 1u);
}

TEST_F(NewImage, GoesAwayIfItIsNotWhole) {
  { const new_image image(directory_ / "image"); }
  EXPECT_EQ(files(), 0u);
}

TEST_F(NewImage, ReplacesNothing) {
  const std::string path = directory_.file("image", "older");
  EXPECT_THAT(error_of(path), HasSubstr("is there already"));
  fs::remove(path);
  fs::create_symlink("nowhere", path);
  EXPECT_THAT(error_of(path), HasSubstr("is there already"));
  fs::remove(path);
  new_image image(path);
  directory_.file("image", "older");
  EXPECT_THROW(image.commit(), persistent_data::device_error);
  EXPECT_EQ(persistent_data::test::content_of(path), "older");
}

TEST_F(NewImage, NeedsADirectory) {
  EXPECT_THAT(error_of(directory_ / "no/image"), HasSubstr("No such file or directory"));
  EXPECT_THAT(error_of(directory_ / ""), HasSubstr("Is a directory"));
}

// Else the same backup would be refused the next time, since the image is there.
TEST_F(NewImage, IsNotThereIfItCannotBeFlushed) {
  class failing_flush : public persistent_data::system_calls {
   public:
    failing_flush(int nr, int error) : left_(nr), error_(error) {}
    int fsync(int fd) override {
      if (left_-- > 0) return system_calls::fsync(fd);
      errno = error_;
      return -1;
    }

   private:
    int left_, error_;
  };
  // EROFS: a file system that has become read-only after an error.
  for (const int error : {EIO, EROFS})
    for (const int nr : {0, 1}) {
      failing_flush calls(nr, error);
      {
        new_image image(directory_ / "image", calls);
        EXPECT_THROW(image.commit(), persistent_data::device_error) << nr;
      }
      EXPECT_EQ(files(), 0u) << nr;
    }
}

}  // namespace
}  // namespace era
