// SPDX-License-Identifier: GPL-3.0-or-later
// A JSON document that is freed with its owner.
#pragma once

#include <memory>

#include <jansson.h>

namespace era {

struct release_json {
  void operator()(json_t* document) const noexcept { json_decref(document); }
};
using json_ptr = std::unique_ptr<json_t, release_json>;

}  // namespace era
