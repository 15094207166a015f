// SPDX-License-Identifier: GPL-3.0-or-later
// The callback of long work.
#pragma once

#include <functional>

namespace persistent_data {

// Called again and again during long work, in the thread that began it. The caller shows
// progress in it, or looks for a signal. If it throws, the work ends and passes the exception on.
using progress_function = std::function<void()>;

}  // namespace persistent_data
