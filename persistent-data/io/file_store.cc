// SPDX-License-Identifier: GPL-3.0-or-later
// One pread or pwrite for each block, continued if it is interrupted or short, and fdatasync for a
// flush.
#include "persistent-data/io/file_store.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/short_transfer.h"

namespace persistent_data {
namespace {

class file_store final : public block_store {
 public:
  file_store(int fd, std::string name, std::uint64_t nr_blocks, system_calls& calls)
      : fd_(fd), name_(std::move(name)), nr_blocks_(nr_blocks), calls_(calls) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t nr_blocks() const noexcept override { return nr_blocks_; }

  void read(block_nr where, block& b) override {
    transfer(where, "read", ENODATA, [&](std::size_t done, off_t at) {
      return calls_.pread(fd_, b.bytes.data() + done, block_size - done, at);
    });
  }
  void write(block_nr where, const block& b) override {
    transfer(where, "written", ENOSPC, [&](std::size_t done, off_t at) {
      return calls_.pwrite(fd_, b.bytes.data() + done, block_size - done, at);
    });
  }
  void flush() override {
    while (calls_.fdatasync(fd_) != 0)
      if (errno != EINTR)
        throw device_error(
            fmt::format("{}: cannot flush what was written: {}", name_, std::strerror(errno)));
  }

 private:
  // at_end: the error if nothing more can be transferred.
  template <class Call>
  void transfer(block_nr where, const char* what, int at_end, Call call) const {
    for (std::size_t done = 0; done < block_size;) {
      const ssize_t n = call(done, static_cast<off_t>(where.value * block_size + done));
      if (n < 0 && errno == EINTR) continue;
      const int error = continue_transfer(done, block_size, n < 0 ? -errno : n, at_end);
      if (error != 0)
        throw device_error(fmt::format("{}: metadata block {} cannot be {}: {}", name_, where, what,
                                       std::strerror(error)));
    }
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
