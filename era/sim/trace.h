// SPDX-License-Identifier: GPL-3.0-or-later
// What a device was asked for in real life: blkparse's text, and fio's iolog of version 2 and 3.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace era::sim {

struct traced_request {
  enum class kind { write, discard, flush } what = kind::write;
  std::uint64_t sector = 0, count = 0;
  double seconds = 0;  // since the beginning
};

// What was expected, in words.
class bad_trace : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Takes line after line; the first ones say which format it is.
class trace_reader {
 public:
  // The request in the line; nothing: it is none that changes the device. Throws bad_trace.
  std::optional<traced_request> read(std::string_view line);

 private:
  enum class format { unknown, blkparse, iolog_2, iolog_3 };

  void recognize(std::string_view line);
  std::optional<traced_request> blkparse(std::string_view line);
  std::optional<traced_request> iolog(std::string_view line);
  void require_one_file(std::string_view name);

  format format_ = format::unknown;
  std::string file_;
  double waited_ = 0;
  bool summary_ = false;  // blkparse's, at the end
};

}  // namespace era::sim
