// SPDX-License-Identifier: GPL-3.0-or-later
// A device mapper with one era device, "my_era", in memory that child processes share.
#pragma once

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "era/backup/device_mapper.h"
#include "persistent-data/format/errors.h"

namespace era::test {

class fake_device_mapper final : public device_mapper {
 public:
  static constexpr const char* name = "my_era";

  fake_device_mapper() {
    void* memory =
        ::mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    shared_ = new (memory) shared;
  }
  ~fake_device_mapper() override { ::munmap(shared_, sizeof(shared)); }
  fake_device_mapper(const fake_device_mapper&) = delete;
  fake_device_mapper& operator=(const fake_device_mapper&) = delete;

  // Child processes change it, too.
  struct device_state {
    std::atomic<bool> suspended = false, has_metadata_snapshot = false;
    std::atomic<std::uint32_t> era = 7;
  };
  device_state& state() { return shared_->state; }

  bool has_inactive_table = false;
  std::vector<mapped_target> its_table{{0, 20'480, "era", "253:1 253:2 128"}};
  std::optional<std::string> its_status;  // instead of the line that follows from the state
  std::string fails;  // the name of a function that fails, after it has taken effect
  std::function<void()> at_suspend = [] {}, at_resume = [] {};  // called after they took effect

  // The calls that change something, and those of note(), in order.
  void note(const std::string& call) {
    const std::size_t at = shared_->used.fetch_add(call.size() + 1);
    if (at + call.size() + 1 > shared_->text.size()) throw std::runtime_error("too many calls");
    std::memcpy(shared_->text.data() + at, (call + '\n').data(), call.size() + 1);
  }
  std::vector<std::string> calls() const {
    std::istringstream lines(std::string(shared_->text.data(), shared_->used));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
  }

  mapped_device_info info(const std::string& device) override {
    fail_in("info");
    return {.exists = device == name,
            .suspended = shared_->state.suspended,
            .has_inactive_table = has_inactive_table};
  }
  std::vector<mapped_target> table(const std::string&) override { return its_table; }
  std::vector<mapped_target> status(const std::string&) override {
    must_not_wait();
    const device_state& d = shared_->state;
    const std::string line =
        "8 11/1024 " + std::to_string(d.era) + (d.has_metadata_snapshot ? " 77" : " -");
    return {{0, 20'480, "era", its_status.value_or(line)}};
  }
  void message(const std::string&, const std::string& text) override {
    must_not_wait();
    note("message " + text);
    fail_in("message");
    if (text == "take_metadata_snap") {
      shared_->state.has_metadata_snapshot = true;
      ++shared_->state.era;
    } else if (text == "drop_metadata_snap") {
      shared_->state.has_metadata_snapshot = false;
    } else {
      throw persistent_data::device_error("Invalid argument");
    }
  }
  void suspend(const std::string&) override {
    note("suspend");
    shared_->state.suspended = true;
    at_suspend();
    fail_in("suspend");
  }
  void resume(const std::string&) override {
    note("resume");
    fail_in("resume");
    if (shared_->state.suspended.exchange(false)) ++shared_->state.era;
    at_resume();
  }
  std::string node(unsigned major, unsigned minor) override {
    return "/dev/node-" + std::to_string(major) + '-' + std::to_string(minor);
  }

 private:
  struct shared {
    device_state state;
    std::atomic<std::size_t> used = 0;
    std::array<char, 4096> text{};
  };

  void fail_in(const char* function) const {
    if (fails == function)
      throw persistent_data::device_error(std::string(function) + ": Input/output error");
  }
  void must_not_wait() const {
    if (shared_->state.suspended) throw std::logic_error("this would wait for the device");
  }

  shared* shared_;
};

}  // namespace era::test
