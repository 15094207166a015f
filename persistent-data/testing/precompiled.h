// SPDX-License-Identifier: GPL-3.0-or-later
// Compiled once for all tests, which spend most of their time in these. The tests include by
// themselves what they use, and none includes this; so it needs no guard, of which g++ would warn.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
