// SPDX-License-Identifier: GPL-3.0-or-later
// Shared by all commands: their options, their errors, their exit statuses.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>

#include "era/commands/options.h"
#include "era/commands/progress.h"
#include "persistent-data/io/block_device.h"

namespace era {

inline constexpr int exit_success = 0, exit_failure = 1;

class command_line {
 public:
  // name: era_check; usage: what follows it in its usage line. Adds --help and --version.
  command_line(std::string name, std::string purpose, std::string usage);

  option_list& options() noexcept { return options_; }
  const std::string& name() const noexcept { return name_; }

  // Adds {device|file} and the hidden --io-engine. Must be called after all options are added.
  void add_device();
  // The same with another meaning of the argument. if_missing: the message if it is not given.
  void add_argument(std::string if_missing);
  // For a command that names its devices by options: adds the hidden --io-engine alone.
  void add_io_engine();
  const std::string& device() const noexcept { return argument_; }
  const std::string& argument() const noexcept { return argument_; }
  persistent_data::engine_choice engine() const noexcept { return engine_; }

  // Parses, then runs the command, which returns its exit status. Bad usage and exceptions become a
  // message on standard error and exit_failure; a closed standard output does so without a message.
  int run(int argc, char** argv, const std::function<int()>& command);

  // Prints a message on standard error: the command's name, then the text. Progress that is shown
  // goes away before.
  void say(const std::string& text) const;
  // The same for one of what may be millions of messages: after the first thousand they are kept,
  // and printed in pieces of 64 KiB; the rest before the next say(), by print_kept(), or at the end
  // of run().
  void say_in_bulk(const std::string& text) const;
  void print_kept() const;
  void show(progress* shown) noexcept { shown_ = shown; }

 private:
  void parse(int argc, char** argv);
  void bad_usage(const std::string& what) const;

  std::string name_, purpose_, usage_;
  std::string argument_, if_missing_;  // empty if no argument is expected
  bool wants_help_ = false, wants_version_ = false;
  persistent_data::engine_choice engine_ = persistent_data::engine_choice::automatic;
  option_list options_;
  progress* shown_ = nullptr;
  mutable std::string kept_;
  mutable std::uint64_t in_bulk_ = 0;
};

// Returns the message for an exception that ended a command. doing: "read DEVICE", for exceptions
// whose text does not name the work.
std::string in_words(const std::exception&, const std::string& doing);

// The commands: one file each.
int backup_command(int argc, char** argv);
int check_command(int argc, char** argv);
int dump_command(int argc, char** argv);
int invalidate_command(int argc, char** argv);
int repair_command(int argc, char** argv);
int restore_command(int argc, char** argv);
int sim_command(int argc, char** argv);

}  // namespace era
