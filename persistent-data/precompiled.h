// SPDX-License-Identifier: GPL-3.0-or-later
// Compiled once for the whole library, which spends most of its time in these. Each source includes
// by itself what it uses, and none includes this, so it needs no guard. `make tidy` compiles
// without it.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
