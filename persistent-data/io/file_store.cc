// SPDX-License-Identifier: GPL-3.0-or-later
// One pread or pwrite for each block, and fdatasync for a flush.
#include "persistent-data/io/file_store.h"

#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace persistent_data {
namespace {

class file_store final : public block_store {
 public:
  file_store(int fd, std::string name, std::uint64_t nr_blocks, system_calls& calls)
      : fd_(fd), name_(std::move(name)), nr_blocks_(nr_blocks), calls_(calls) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t nr_blocks() const noexcept override { return nr_blocks_; }

  void read(block_nr where, block& b) override {
    require_done(where, "read", read_whole(fd_, b.bytes, offset_of(where), calls_));
  }
  void write(block_nr where, const block& b) override {
    require_done(where, "written", write_whole(fd_, b.bytes, offset_of(where), calls_));
  }
  void flush() override {
    if (const int error = flush_data(fd_, calls_))
      throw device_error(
          fmt::format("{}: cannot flush what was written: {}", name_, std::strerror(error)));
  }

 private:
  static std::uint64_t offset_of(block_nr where) { return where.value * block_size; }

  void require_done(block_nr where, const char* what, int error) const {
    if (error != 0)
      throw device_error(fmt::format("{}: metadata block {} cannot be {}: {}", name_, where, what,
                                     std::strerror(error)));
  }

  int fd_;
  std::string name_;
  std::uint64_t nr_blocks_;
  system_calls& calls_;
};

}  // namespace

std::unique_ptr<block_store> make_file_store(int fd, std::string name, std::uint64_t nr_blocks,
                                             system_calls& calls) {
  return std::make_unique<file_store>(fd, std::move(name), nr_blocks, calls);
}

}  // namespace persistent_data
