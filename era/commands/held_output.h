// SPDX-License-Identifier: GPL-3.0-or-later
// An output of which nothing is seen before all of it is known: a partial list of blocks would be
// believed.
#pragma once

#include <string>
#include <string_view>

#include "era/commands/output.h"

namespace era {

class held_output {
 public:
  // path: as for output.
  explicit held_output(const std::string& path) : out_(path), holds_(out_.is_seen_at_once()) {}
  ~held_output();
  held_output(const held_output&) = delete;
  held_output& operator=(const held_output&) = delete;

  // Keeps the text in memory, and in a temporary file where it grows past some megabytes. Throws
  // output_error.
  void write(std::string_view);
  // Passes all of it on. Throws output_error, closed_pipe.
  void commit();

 private:
  void spill();

  output out_;
  bool holds_;
  std::string text_;
  int spilled_ = -1;
};

}  // namespace era
