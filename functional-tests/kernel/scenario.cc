// SPDX-License-Identifier: GPL-3.0-or-later
// The model goes through the commands again when the kernel has answered them, and the judge looks
// at each image that was taken.
#include "functional-tests/kernel/scenario.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace era::test {

namespace fs = std::filesystem;

namespace {

// A complaint of the kernel that is no fault of the metadata: a message was refused, as it should
// be.
bool is_known(const std::string& text) {
  return text.find("unsupported message") != std::string::npos;
}

std::string compare_status(const virtual_machine& machine, unsigned line, const device_model& model,
                           bool may_fail) {
  const auto all = machine.answers(line);
  std::istringstream words(all.empty() ? "" : all.front());
  std::string block, used, held;
  std::uint32_t era = 0;
  words >> block >> used >> era >> held;
  if (may_fail) return "";
  if (era != model.era() || (held != "-") != model.has_snapshot())
    return "status: " + words.str() + ", and era " + std::to_string(model.era()) + " is expected\n";
  return "";
}

}  // namespace

std::uint64_t draw_seed() {
  const char* given = std::getenv("ERA_KERNEL_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

unsigned number_of(const char* variable, unsigned otherwise) {
  const char* given = std::getenv(variable);
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : otherwise;
}

void scenario::expect(const virtual_machine& machine, const std::string& name, bool may_fail) {
  device_model model(most_blocks + 400);
  if (start_) start_(model);
  std::string wrong;
  bool is_lost = false;
  if (!may_fail && machine.answers(end_).empty()) wrong += "the kernel did not reach the end\n";
  for (const step& s : steps_) {
    const std::string error = machine.answer(s.line, "error");
    if (!error.empty()) {
      if (!may_fail) wrong += s.text + ": " + error + '\n';
      if (s.text.starts_with("create")) is_lost = true;
      model.doubt();
      if (s.text.starts_with("write") || s.text.starts_with("discard")) model.fail(s.effect);
    } else if (s.effect) {
      s.effect(model);
    }
    if (s.text == "status" && error.empty())
      wrong += compare_status(machine, s.line, model, may_fail);
    if (s.text != "image" || is_lost || !wrong.empty()) continue;
    if (may_fail && machine.answer(s.line, "image").empty()) continue;
    const fs::path image =
        fs::temp_directory_path() / ("era_kernel_image." + std::to_string(::getpid()));
    machine.save_image(s.line, image.string());
    const std::string differences = judge(image.string(), model.expected(s.line), s.line);
    ++judged;
    if (!differences.empty()) {
      const std::string kept = name + "-line" + std::to_string(s.line) + ".img";
      fs::copy_file(image, kept, fs::copy_options::overwrite_existing);
      wrong += "image of line " + std::to_string(s.line) + " (" + kept + "): " + differences;
    }
    for (const char* ending : {"", ".out", ".xml", ".script"}) fs::remove(image.string() + ending);
  }
  for (const std::string& text : machine.answers(log_))
    if (!may_fail && !is_known(text)) wrong += text + '\n';
  if (wrong.empty()) return;
  std::string story;
  for (const step& s : steps_) story += std::to_string(s.line) + ' ' + s.text + '\n';
  ADD_FAILURE() << name << ":\n" << wrong << "of\n" << story;
}

void live_a_life(scenario& s, std::uint64_t length, bool writes_overlap, bool is_full) {
  for (std::uint64_t i = 0; i < length; ++i) {
    switch (s.below(20)) {
      case 0:
      case 1:
      case 2: s.checkpoint(); break;
      case 3: s.snapshot(); break;
      case 4:
        if (!is_full) s.resize(s.size());
        break;
      case 5:
        if (!is_full) s.suspend(), s.resume();
        break;
      case 6:
        if (!is_full) s.remove(), s.create(s.size());
        break;
      case 7: s.discard(); break;
      case 8: s.image(); break;
      case 9: s.status(); break;
      case 10: s.run("digest"); break;
      case 11:
        if (writes_overlap) s.write(false);
        break;
      default: s.write();
    }
  }
}

}  // namespace era::test
