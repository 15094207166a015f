// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of outputs: a directory of their own, and outputs that are written into it.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "era/commands/output.h"

#include "persistent-data/testing/scratch_directory.h"

namespace era::test {

namespace fs = std::filesystem;

class output_directory : public ::testing::Test {
 protected:
  std::string path(const char* name) const { return directory_ / name; }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_.string()), fs::directory_iterator()));
  }
  static std::string content(const std::string& of) {
    std::ostringstream text;
    text << std::ifstream(of).rdbuf();
    return text.str();
  }

  // Writes all of it at once.
  static void write_whole(const std::string& to, const std::string& text,
                          pd::system_calls& calls = pd::system_calls::real()) {
    output out(to, calls);
    out.write(text);
    out.commit();
  }
  // The message, or an empty one.
  static std::string commit_error(const std::string& to, const std::string& text,
                                  pd::system_calls& calls) {
    try {
      write_whole(to, text, calls);
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  }
  // The message of opening it.
  static std::string error_of(const std::string& path) {
    try {
      output out(path);
      return "";
    } catch (const std::exception& e) {
      return e.what();
    }
  }
  static ino_t inode(const std::string& of) {
    struct stat status {};
    EXPECT_EQ(::stat(of.c_str(), &status), 0);
    return status.st_ino;
  }
  // Larger than the buffer of a copy.
  static std::string big_text() {
    std::string text;
    for (int i = 0; i < 600000; ++i) text += std::to_string(i % 7919) + ' ';
    return text;
  }

  pd::test::scratch_directory directory_;
};

}  // namespace era::test
