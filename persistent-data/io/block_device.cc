// SPDX-License-Identifier: GPL-3.0-or-later
// Opening the metadata device.
#include "persistent-data/io/block_device.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace persistent_data {
namespace {

class watched_engine final : public io_engine {
 public:
  watched_engine(std::unique_ptr<io_engine> engine,
                 const std::function<void(std::uint64_t)>& watcher)
      : engine_(std::move(engine)), watcher_(watcher) {}

  std::size_t depth() const noexcept override { return engine_->depth(); }
  void submit(const io_request& request) override { engine_->submit(request); }
  io_completion wait() override {
    const io_completion done = engine_->wait();
    if (done.result > 0 && watcher_) watcher_(static_cast<std::uint64_t>(done.result));
    return done;
  }

 private:
  std::unique_ptr<io_engine> engine_;
  const std::function<void(std::uint64_t)>& watcher_;
};

}  // namespace

block_device::block_device(std::string path, access how, engine_choice engine, system_calls& calls)
    : opened_(
          std::move(path), how, cache_for(engine),
          {.if_held = ", or read the metadata snapshot of a live device (--metadata-snapshot)"}),
      engine_(resolve(engine, opened_.is_block_device())),
      calls_(calls),
      nr_blocks_(opened_.bytes() / block_size) {
  if (nr_blocks_ == 0)
    opened_.fail(
        fmt::format("is too small: it has {} bytes, and metadata begins with a superblock of {}",
                    opened_.bytes(), block_size));
}

std::unique_ptr<io_engine> block_device::make_engine() const {
  std::unique_ptr<io_engine> engine =
      persistent_data::make_engine(engine_, opened_.descriptor(), calls_);
  if (watcher_) engine = std::make_unique<watched_engine>(std::move(engine), watcher_);
  return engine;
}

unsigned block_device::nr_workers() const noexcept {
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace persistent_data
