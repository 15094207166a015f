// SPDX-License-Identifier: GPL-3.0-or-later
// What all commands have in common: their options, their errors, their exit statuses.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "persistent-data/io/block_device.h"

namespace era {

inline constexpr int exit_success = 0, exit_failure = 1;

// Options of a command, by CLI11, with --help and --version.
class command_line {
 public:
  // name: era_check; usage: what stands behind it in its usage line.
  command_line(std::string name, std::string purpose, std::string usage);

  CLI::App& app() noexcept { return app_; }
  const std::string& name() const noexcept { return name_; }

  // Adds {device|file} and the hidden --io-engine. After all options.
  void add_device();
  // For a command that names its devices by options: the hidden --io-engine alone.
  void add_io_engine();
  const std::string& device() const noexcept { return device_; }
  persistent_data::engine_choice engine() const noexcept { return engine_; }

  // Parses, then runs the command, which returns its exit status. Bad usage and exceptions become a
  // message on stderr and exit_failure; a closed standard output does so without a message.
  int run(int argc, char** argv, const std::function<int()>& command);

  // A message on stderr: the command's name, then the text.
  void say(const std::string& text) const;

 private:
  int bad_usage(const std::string& what) const;

  std::string name_, device_;
  bool wants_device_ = false;
  persistent_data::engine_choice engine_ = persistent_data::engine_choice::automatic;
  CLI::App app_;
};

// The commands: one file each.
int check_command(int argc, char** argv);
int dump_command(int argc, char** argv);
int invalidate_command(int argc, char** argv);
int repair_command(int argc, char** argv);
int restore_command(int argc, char** argv);
int sim_command(int argc, char** argv);

}  // namespace era
