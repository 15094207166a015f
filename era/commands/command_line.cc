// SPDX-License-Identifier: GPL-3.0-or-later
// The order of things: options, what they exclude, then the command.
#include "era/commands/command_line.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "config.h"
#include "era/commands/output.h"
#include "persistent-data/format/errors.h"

namespace era {

using persistent_data::engine_choice;

namespace {

// If standard error is closed or full, there is nobody to tell.
void print_error(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

command_line::command_line(std::string name, std::string purpose, std::string usage)
    : name_(std::move(name)), purpose_(std::move(purpose)), usage_(std::move(usage)) {
  options_.let_overrule(options_.add_flag("-h,--help", wants_help_, "Print this help and exit"));
  options_.let_overrule(
      options_.add_flag("-V,--version", wants_version_, "Print the version number and exit"));
}

void command_line::add_io_engine() {
  options_.hide(options_.add_choice<engine_choice>(
      "--io-engine", engine_,
      {{"sync", engine_choice::sync}, {"aio", engine_choice::aio}, {"uring", engine_choice::uring}},
      "For tests"));
}

void command_line::add_device() {
  add_argument("no device was named; it takes a metadata device, or a file with its content");
}

void command_line::add_argument(std::string if_missing) {
  if_missing_ = std::move(if_missing);
  add_io_engine();
}

void command_line::parse(int argc, char** argv) {
  const auto rest = options_.parse(argc, argv);
  if (wants_help_ || wants_version_) return;
  const std::size_t expected = if_missing_.empty() ? 0 : 1;
  if (rest.size() > expected) {
    if (std::find(rest.begin(), rest.end(), "") != rest.end())
      throw pd::usage_error("an argument is empty: is it a variable without a value?");
    throw pd::usage_error(fmt::format("'{}' is not expected here{}", rest[expected],
                                      expected == 1 ? fmt::format(", after '{}'", rest[0]) : ""));
  }
  if (expected == 0) return;
  if (rest.empty() || rest.front().empty()) throw pd::usage_error(if_missing_);
  argument_ = rest.front();
}

int command_line::run(int argc, char** argv, const std::function<int()>& command) {
  int status = exit_failure;
  try {
    parse(argc, argv);
    if (wants_help_)
      print(fmt::format("{}\nUsage: {} {}\n\nOptions:\n{}", purpose_, name_, usage_,
                        options_.help()));
    else if (wants_version_)
      print(ERA_TOOLS_VERSION "\n");
    status = wants_help_ || wants_version_ ? exit_success : command();
  } catch (const pd::usage_error& e) {
    bad_usage(e.what());
  } catch (const pd::closed_pipe&) {
  } catch (const std::exception& e) {
    say(in_words(e, argument_.empty() ? "go on" : "read " + argument_));
  }
  print_kept();
  return status;
}

std::string in_words(const std::exception& e, const std::string& doing) {
  if (dynamic_cast<const std::bad_alloc*>(&e) || dynamic_cast<const std::length_error*>(&e))
    return fmt::format("there is not enough memory to {}", doing);
  if (dynamic_cast<const std::system_error*>(&e))
    return fmt::format("cannot {}: {}", doing, e.what());
  return e.what();
}

void command_line::bad_usage(const std::string& what) const {
  say(what);
  print_error(fmt::format("Try '{} --help'.\n", name_));
}

void command_line::say(const std::string& text) const {
  print_kept();
  if (shown_) shown_->clear();
  print_error(fmt::format("{}: {}\n", name_, text));
}

void command_line::say_in_bulk(const std::string& text) const {
  constexpr std::uint64_t at_once = 1000;
  constexpr std::size_t piece = 1 << 16;
  if (in_bulk_++ < at_once) return say(text);
  kept_.append(name_).append(": ").append(text) += '\n';
  if (kept_.size() >= piece) print_kept();
}

void command_line::print_kept() const {
  if (kept_.empty()) return;
  if (shown_) shown_->clear();
  print_error(kept_);
  kept_.clear();
}

}  // namespace era
