// SPDX-License-Identifier: GPL-3.0-or-later
// A text that is made at memory speed: room is asked for once for many lines, and they are written
// without further checks.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace era {

class text_buffer {
 public:
  std::size_t size() const noexcept { return size_; }
  std::string_view view() const noexcept { return {data_.get(), size_}; }
  void clear() noexcept { size_ = 0; }

  // Room for this many bytes after the text, to be written and then given to written_to().
  char* room(std::size_t bytes) {
    if (capacity_ - size_ < bytes) grow(size_ + bytes);
    return data_.get() + size_;
  }
  void written_to(const char* end) noexcept {
    size_ = static_cast<std::size_t>(end - data_.get());
    assert(size_ <= capacity_);
  }

  void append(std::string_view text) {
    if (text.empty()) return;
    char* to = room(text.size());
    std::memcpy(to, text.data(), text.size());
    written_to(to + text.size());
  }

 private:
  void grow(std::size_t needed) {
    const std::size_t capacity = std::max(needed, 2 * capacity_);
    std::unique_ptr<char[]> data(new char[capacity]);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace era
