// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that a real device was given: blkparse's text, and fio's iolog of version 2 and 3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "persistent-data/format/errors.h"

namespace era::sim {

namespace pd = persistent_data;

struct traced_request {
  enum class kind { write, discard, flush } what = kind::write;
  std::uint64_t sector = 0, count = 0;  // count is 0 for a flush only
  bool flushes_first = false;
  double seconds = 0;  // since the beginning; finite, not negative
};

// Takes line after line; the first ones say which format it is.
class trace_reader {
 public:
  // device: the one whose requests are read, as the trace names it: 8,16 in blkparse's text, the
  // file's name in a fio iolog. If it is empty, a second device in the trace is an error.
  explicit trace_reader(std::string device = {}) : device_(std::move(device)) {}

  // Returns nullopt if the line has no request that changes the device. Throws invalid_input.
  std::optional<traced_request> read(std::string_view line);

  // To be called after the last line. Throws invalid_input if no line was of the device.
  void finish() const;

 private:
  enum class format { unknown, blkparse, iolog_2, iolog_3 };

  void recognize(std::string_view line);
  std::optional<traced_request> blkparse(std::string_view line);
  std::optional<traced_request> iolog(std::string_view line);
  bool is_of_device(std::string_view name);

  std::string device_;  // empty: the only one
  format format_ = format::unknown;
  std::string first_;        // the first device in the trace
  bool has_device_ = false;  // is device_ in the trace?
  double waited_ = 0;        // seconds
  bool in_summary_ = false;  // blkparse's, at the end
};

}  // namespace era::sim
