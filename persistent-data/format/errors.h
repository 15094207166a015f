// SPDX-License-Identifier: GPL-3.0-or-later
// The classes of errors, for all rooms. Each message names the thing, the place and, if there is
// one, the way out; a command prints it and ends with status 1. Damage that is only to be reported
// is no exception: it is a finding.
#pragma once

#include <stdexcept>

namespace persistent_data {

struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The command line is wrong: the message names the option and what is expected.
struct usage_error : error {
  using error::error;
};

// A device or a file cannot be opened, read or written, or does not hold what is asked of it.
struct device_error : error {
  using error::error;
};

// The input is invalid: XML, a script, a trace, a request. The thrower says what has changed by
// then.
struct invalid_input : error {
  using error::error;
};

// Metadata that is needed is damaged, or nothing of it can be saved.
struct damaged_metadata : error {
  using error::error;
};

// No metadata block is free. A transaction's last commit is whole then; what is built anew has to
// be given up.
struct no_space : error {
  using error::error;
};

// The reader of standard output has gone: nothing needs to be said.
struct closed_pipe : error {
  closed_pipe() : error("standard output is closed") {}
};

}  // namespace persistent_data
