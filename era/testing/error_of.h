// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: the message of an error.
#pragma once

#include <string>

#include "persistent-data/format/errors.h"

namespace era::test {

// Calls, and returns the text of the error that it throws, or an empty one. Errors of other classes
// come out.
template <class Error = persistent_data::error, class Call>
std::string error_of(Call call) {
  try {
    call();
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace era::test
