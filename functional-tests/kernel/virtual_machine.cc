// SPDX-License-Identifier: GPL-3.0-or-later
// functional-tests/kernel/boot starts the machine; the agent's answers come by its console.
#include "functional-tests/kernel/virtual_machine.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace era::test {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20;

std::string variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

// Copies bytes of one file to the place of another.
void copy(const std::string& from, std::uint64_t from_offset, const std::string& to,
          std::uint64_t to_offset, std::uint64_t bytes) {
  std::ifstream in(from, std::ios::binary);
  std::fstream out(to, std::ios::binary | std::ios::in | std::ios::out);
  in.seekg(static_cast<std::streamoff>(from_offset));
  out.seekp(static_cast<std::streamoff>(to_offset));
  std::vector<char> piece(mebibyte);
  for (std::uint64_t done = 0; done < bytes;) {
    const auto size = std::min<std::uint64_t>(piece.size(), bytes - done);
    in.read(piece.data(), static_cast<std::streamsize>(size));
    out.write(piece.data(), static_cast<std::streamsize>(size));
    done += size;
  }
  ASSERT_TRUE(in && out) << from << " to " << to;
}

void create(const std::string& path, std::uint64_t bytes) {
  std::ofstream(path).close();
  fs::resize_file(path, bytes);
}

}  // namespace

virtual_machine::virtual_machine() {
  std::string name = (fs::temp_directory_path() / "era_kernel.XXXXXX").string();
  if (!::mkdtemp(name.data())) std::abort();
  directory_ = name;
  create(path("metadata"), 256 * mebibyte);
  create(path("origin"), 1024 * mebibyte);
  create(path("input"), mebibyte);
  create(path("results"), 8192 * mebibyte);
}

virtual_machine::~virtual_machine() { fs::remove_all(directory_); }

std::string virtual_machine::add_input(const std::string& file) {
  const std::uint64_t bytes = fs::file_size(file), at = input_size_;
  input_size_ += (bytes + mebibyte - 1) / mebibyte * mebibyte;
  fs::resize_file(path("input"), input_size_);
  copy(file, 0, path("input"), at, bytes);
  return "input " + std::to_string(at) + ' ' + std::to_string(bytes);
}

void virtual_machine::run(const agent_script& script,
                          const std::map<std::string, std::string>& files, bool may_die) {
  std::ofstream in_machine(path("script"));
  const auto put = [&](const std::string& name, const std::string& text) {
    in_machine << "cat >" << name << " <<'END OF FILE'\n" << text << "END OF FILE\n";
  };
  put("/commands", script.text());
  for (const auto& [name, text] : files) put(name, text);
  in_machine << "agent /commands\n";
  in_machine.close();

  const std::string bin = variable("ERA_BIN", "bin"),
                    tests = variable("ERA_TESTS_DIR", "functional-tests");
  // Several times what software emulation takes: only a hang reaches it.
  const std::string seconds = std::to_string(900 + script.lines() / 4);
  const std::string command = "seconds=" + seconds + " programs='" + bin + "/agent " + bin +
                              "/era_tools " + bin + "/snapshot_driver" + programs_ + "' " + tests +
                              "/kernel/boot " + path("script") + ' ' + path("metadata") + ' ' +
                              path("origin") + ' ' + path("input") + ' ' + path("results") +
                              " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_TRUE(pipe);
  std::string output;
  std::array<char, 4096> piece;
  while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe))
    output.append(piece.data(), n);
  const int ended = ::pclose(pipe);
  ASSERT_TRUE(WIFEXITED(ended)) << "boot was killed: " << output;
  const int status = WEXITSTATUS(ended);
  if (status == 77) {
    why_not_ = output;
    return;
  }
  EXPECT_TRUE(status == 0 || may_die) << status << '\n' << output;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    unsigned number = 0;
    std::string rest;
    if (words >> number && std::getline(words >> std::ws, rest)) answers_.emplace(number, rest);
  }
}

std::vector<std::string> virtual_machine::answers(unsigned line) const {
  std::vector<std::string> found;
  const auto [begin, end] = answers_.equal_range(line);
  for (auto at = begin; at != end; ++at) found.push_back(at->second);
  return found;
}

std::string virtual_machine::answer(unsigned line, const std::string& word) const {
  for (const std::string& text : answers(line))
    if (text.starts_with(word + ' ')) return text.substr(word.size() + 1);
  return "";
}

void virtual_machine::save_image(unsigned line, const std::string& to) const {
  std::istringstream words(answer(line, "image"));
  std::uint64_t offset = 0, bytes = 0;
  ASSERT_TRUE(words >> offset >> bytes) << "line " << line << " has no image";
  create(to, bytes);
  copy(path("results"), offset, to, 0, bytes);
}

}  // namespace era::test
