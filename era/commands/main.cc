// SPDX-License-Identifier: GPL-3.0-or-later
// era_tools: all commands but era_backup in one program. It is called by a command's own name (a
// link era_check) or with the command as its first argument (era_tools check, era_tools era_check).
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "config.h"
#include "era/commands/command_line.h"
#include "era/commands/output.h"
#include "era/commands/startup.h"
#include "persistent-data/format/errors.h"

namespace {

// Does not throw if the text cannot be printed: a message about that would not arrive either.
template <class... Args>
void complain(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

struct command {
  std::string_view name;
  int (*run)(int argc, char** argv);
  std::string_view purpose;
};

// era_backup is another program, which lies beside this one.
int run_era_backup(int, char** argv) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = self.parent_path() / "era_backup";
  if (!error) ::execv(beside.c_str(), argv);
  ::execvp("era_backup", argv);
  complain("era_tools: {} cannot be run: {}\n", error ? "era_backup" : beside,
           std::strerror(errno));
  return era::exit_failure;
}

constexpr command commands[] = {
    {"backup", run_era_backup, "copy the blocks written since an era into a backup"},
    {"check", era::check_command, "check all of the metadata"},
    {"dump", era::dump_command, "print the metadata as XML"},
    {"invalidate", era::invalidate_command, "list the blocks written since an era"},
    {"repair", era::repair_command, "write repaired metadata to another device"},
    {"restore", era::restore_command, "make metadata of XML"},
    {"sim", era::sim_command, "simulate a device, by a script or a trace"},
};

const command* find(std::string_view name) {
  for (const command& c : commands)
    if (c.name == name) return &c;
  return nullptr;
}

std::string usage() {
  std::string text = "Usage: era_tools COMMAND [options] ...\n\nCommands:\n";
  for (const command& c : commands) text += fmt::format("  {:<12}{}\n", c.name, c.purpose);
  return text + "\nEach is a command of its own, too: era_check. See its --help and manual page.\n";
}

int print(const std::string& text) {
  try {
    era::print(text);
    return era::exit_success;
  } catch (const era::pd::closed_pipe&) {
  } catch (const era::pd::device_error& e) {
    complain("era_tools: {}\n", e.what());
  }
  return era::exit_failure;
}

}  // namespace

int main(int argc, char** argv) {
  era::start_program();
  std::string_view self = argc > 0 ? argv[0] : "";
  if (const auto slash = self.rfind('/'); slash != self.npos) self.remove_prefix(slash + 1);
  constexpr std::string_view prefix = "era_";
  if (self.starts_with(prefix))
    if (const command* c = find(self.substr(prefix.size()))) return c->run(argc, argv);

  const std::string_view word = argc > 1 ? argv[1] : "";
  if (const command* c = find(word.starts_with(prefix) ? word.substr(prefix.size()) : word))
    return c->run(argc - 1, argv + 1);
  if (word == "-h" || word == "--help") return print(usage());
  if (word == "-V" || word == "--version") return print(ERA_TOOLS_VERSION "\n");
  if (!word.empty()) complain("era_tools: there is no command '{}'\n", word);
  complain("{}", usage());
  return era::exit_failure;
}
