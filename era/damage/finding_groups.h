// SPDX-License-Identifier: GPL-3.0-or-later
// Findings that say the same of neighbouring blocks, made one: a device with a hole has one line,
// not thousands.
#pragma once

#include <optional>

#include "era/damage/finding.h"

namespace era {

// Holds at most one finding, however many there are.
class finding_groups {
 public:
  explicit finding_groups(finding_sink out) : out_(std::move(out)) {}

  void add(finding);
  // Hands over the last one.
  void flush();

 private:
  finding_sink out_;
  std::optional<finding> pending_;
};

}  // namespace era
