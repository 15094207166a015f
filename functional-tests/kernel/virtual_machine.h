// SPDX-License-Identifier: GPL-3.0-or-later
// For the tests against real kernels: a virtual machine that runs the agent (agent.cc) on four
// disks, and the answers that it gave.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace era::test {

// The commands for the agent; each is known by the number of its line, from 1.
class agent_script {
 public:
  // Returns the number of the line.
  unsigned add(const std::string& line) {
    text_ += line + '\n';
    return ++lines_;
  }
  const std::string& text() const noexcept { return text_; }
  unsigned lines() const noexcept { return lines_; }

 private:
  std::string text_;
  unsigned lines_ = 0;
};

class virtual_machine {
 public:
  // The disks are in a temporary directory, and go away with this.
  virtual_machine();
  ~virtual_machine();
  virtual_machine(const virtual_machine&) = delete;
  virtual_machine& operator=(const virtual_machine&) = delete;

  // Appends a file to the input disk. Returns the agent's command that makes it the metadata.
  std::string add_input(const std::string& path);

  // Puts a program of this system into the machine, besides the agent and era_tools. It must be
  // installed.
  void add_program(const std::string& name) { programs_ += ' ' + name; }

  // Boots the kernel, and runs the script to its end. files: names in the machine, and content.
  // may_die: the kernel need not reach the end of the script.
  void run(const agent_script&, const std::map<std::string, std::string>& files = {},
           bool may_die = false);
  // Not empty: there can be no virtual machine here, for this reason.
  const std::string& why_not() const noexcept { return why_not_; }

  // The answers to a line, in order; most commands answer only an error.
  std::vector<std::string> answers(unsigned line) const;
  // The first answer that begins with a word, without that word; empty if there is none.
  std::string answer(unsigned line, const std::string& word) const;
  // The lines that have an answer.
  const std::multimap<unsigned, std::string>& all() const noexcept { return answers_; }

  // Writes the metadata that the line's command `image` copied to a file.
  void save_image(unsigned line, const std::string& to) const;

 private:
  std::string path(const char* name) const { return (directory_ / name).string(); }

  std::filesystem::path directory_;
  std::uint64_t input_size_ = 0;
  std::string why_not_, programs_;
  std::multimap<unsigned, std::string> answers_;
};

}  // namespace era::test
