// SPDX-License-Identifier: GPL-3.0-or-later
// See command_line.h.
#include "era/commands/command_line.h"

#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "config.h"
#include "era/commands/output.h"

namespace era {

using persistent_data::engine_choice;

namespace {

class help_format : public CLI::Formatter {
 public:
  explicit help_format(std::string usage) : usage_(std::move(usage)) { column_width(32); }
  std::string make_usage(const CLI::App*, std::string) const override { return usage_; }

 private:
  std::string usage_;
};

// Where standard error is closed or full, there is nobody to tell.
void print_error(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

command_line::command_line(std::string name, std::string purpose, std::string usage)
    : name_(std::move(name)), app_(std::move(purpose), name_) {
  app_.set_help_flag("-h,--help", "Print this help and exit");
  app_.set_version_flag("-V,--version", fmt::format("{} (era-tools) {}", name_, ERA_TOOLS_VERSION),
                        "Print the version and exit");
  app_.formatter(std::make_shared<help_format>(fmt::format("Usage: {} {}\n", name_, usage)));
}

void command_line::add_io_engine() {
  static const std::map<std::string, engine_choice> engines{{"sync", engine_choice::sync},
                                                            {"aio", engine_choice::aio}};
  app_.add_option("--io-engine", engine_)
      ->transform(CLI::CheckedTransformer(engines))
      ->group("");  // for tests: not in the help
}

void command_line::add_device() {
  wants_device_ = true;
  add_io_engine();
  app_.add_option("device", device_, "The metadata device, or a file with its content")
      ->option_text("{device|file}");
}

int command_line::run(int argc, char** argv, const std::function<int()>& command) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    const bool printed = app_.exit(asked) == 0 && std::cout.flush();
    return printed ? exit_success : exit_failure;
  } catch (const CLI::ParseError& e) {
    return bad_usage(e.what());
  }
  if (wants_device_ && device_.empty())
    return bad_usage("no device was named; it takes a metadata device, or a file with its content");
  try {
    return command();
  } catch (const closed_pipe&) {
    return exit_failure;
  } catch (const std::exception& e) {
    say(e.what());
    return exit_failure;
  }
}

int command_line::bad_usage(const std::string& what) const {
  say(what);
  print_error(fmt::format("Try '{} --help'.\n", name_));
  return exit_failure;
}

void command_line::say(const std::string& text) const {
  print_error(fmt::format("{}: {}\n", name_, text));
}

}  // namespace era
