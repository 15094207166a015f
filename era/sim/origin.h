// SPDX-License-Identifier: GPL-3.0-or-later
// Origins for simulations: a file or block device, or nothing.
#pragma once

#include <cstdint>
#include <string>

#include "era/dm_target/target.h"
#include "persistent-data/io/opened_storage.h"

namespace era::sim {

// Writes are discarded, and reads return zeros.
class no_origin final : public origin_device {
 public:
  void read(std::uint64_t sector, std::uint64_t count, std::byte* data) override;
  void write(std::uint64_t, std::uint64_t, const std::byte*) override {}
  void discard(std::uint64_t, std::uint64_t) override {}
  void flush() override {}
};

class file_origin final : public origin_device {
 public:
  // Throws device_error, as opened_storage.
  explicit file_origin(std::string path);

  std::uint64_t sectors() const noexcept { return opened_.bytes() / pd::sector_size; }

  void read(std::uint64_t sector, std::uint64_t count, std::byte* data) override;
  void write(std::uint64_t sector, std::uint64_t count, const std::byte* data) override;
  // In a file, a hole is punched.
  void discard(std::uint64_t sector, std::uint64_t count) override;
  void flush() override;

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  pd::opened_storage opened_;
};

}  // namespace era::sim
