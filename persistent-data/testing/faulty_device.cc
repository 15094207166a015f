// SPDX-License-Identifier: GPL-3.0-or-later
// Writes append to a list of cached blocks; a flush copies the list to the disk. Each completion
// and each flush is an operation, and fails if its number is chosen.
#include "persistent-data/testing/faulty_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "persistent-data/io/short_transfer.h"

namespace persistent_data::test {

class faulty_device::engine final : public io_engine {
 public:
  explicit engine(faulty_device& device) : device_(device) {}
  // Writes under way are still done, as by a device: the buffers have to be there.
  ~engine() override {
    while (!under_way_.empty()) wait();
  }

  std::size_t depth() const noexcept override { return device_.depth; }

  void submit(const io_request& r) override {
    const bool fits = under_way_.size() < device_.depth && r.operation == io_operation::write &&
                      r.bytes > 0 && r.bytes % sector_size == 0 && r.offset % sector_size == 0;
    if (!fits) std::abort();
    device_.requests_.push_back({r.offset / block_size, (r.offset + r.bytes) / block_size});
    under_way_.push_back(r);
    device_.most_under_way_ = std::max(device_.most_under_way_, under_way_.size());
  }

  io_completion wait() override {
    if (under_way_.empty()) std::abort();
    const auto which = device_.newest_first ? under_way_.end() - 1 : under_way_.begin();
    const io_request r = *which;
    under_way_.erase(which);
    if (const int failed = device_.next_operation(); failed != 0)
      return {r.tag, failed == no_error ? 0 : -failed};
    const std::size_t bytes = std::min(r.bytes, device_.longest_write);
    for (std::size_t done = 0; done < bytes;) {
      const block_nr where{(r.offset + done) / block_size};
      const std::size_t begin = (r.offset + done) % block_size;
      const std::size_t n = std::min(block_size - begin, bytes - done);
      block content = device_.newest(where);
      std::memcpy(content.bytes.data() + begin, r.buffer + done, n);
      device_.newest_[where.value] = device_.cached_.size();
      device_.cached_.emplace_back(where, content);
      done += n;
    }
    return {r.tag, static_cast<std::int64_t>(bytes)};
  }

  static constexpr int no_error = 100000;  // a failure that does not say why

 private:
  faulty_device& device_;
  std::vector<io_request> under_way_;
};

std::unique_ptr<write_queue> faulty_device::make_queue(const std::string& name) {
  return std::make_unique<write_queue>(
      std::make_unique<engine>(*this), [this] { return flush(); }, name);
}

block faulty_device::newest(block_nr where) const {
  const auto found = newest_.find(where.value);
  return found == newest_.end() ? on_disk_[where] : cached_[found->second].second;
}

int faulty_device::next_operation() {
  ++operations_;
  const bool fails = failing_operation != 0 && (fails_for_good ? operations_ >= failing_operation
                                                               : operations_ == failing_operation);
  if (!fails) return 0;
  return error == 0 ? engine::no_error : error;
}

int faulty_device::flush() {
  ++flushes_;
  if (const int failed = next_operation(); failed != 0) return failed;
  keep(arriving::everything);
  return 0;
}

void faulty_device::keep(arriving which) {
  if (which == arriving::last_block && !cached_.empty())
    cached_.erase(cached_.begin(), cached_.end() - 1);
  if (which != arriving::nothing)
    for (const auto& [where, content] : cached_) on_disk_[where] = content;
  cached_.clear();
  newest_.clear();
}

void faulty_device::lose_power(arriving which) { keep(which); }

}  // namespace persistent_data::test
