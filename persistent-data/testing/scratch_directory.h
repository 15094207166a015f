// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: a directory of their own, which goes away with all that is in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace persistent_data::test {

class scratch_directory {
 public:
  scratch_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "era_test.XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~scratch_directory() { std::filesystem::remove_all(path_); }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;

  std::string string() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  // These make what they say, and return its path.
  std::string fifo(const std::string& name) const {
    if (::mkfifo((*this / name).c_str(), 0600) != 0) std::abort();
    return *this / name;
  }
  std::string random_file(const std::string& name, std::size_t bytes, std::uint64_t seed) const {
    std::mt19937_64 random(seed);
    std::vector<std::uint64_t> words(bytes / 8 + 1);
    for (std::uint64_t& word : words) word = random();
    return file(name, {reinterpret_cast<const char*>(words.data()), bytes});
  }
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return *this / name;
  }
  // Zeros; a hole, if the file system knows them.
  std::string empty_file(const std::string& name, std::uint64_t bytes) const {
    std::ofstream(*this / name).close();
    std::filesystem::resize_file(*this / name, bytes);
    return *this / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace persistent_data::test
