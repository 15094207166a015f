// SPDX-License-Identifier: GPL-3.0-or-later
// Everything about a file that its content does not decide: owner, group, mode, access control list
// and extended attributes.
#pragma once

#include "persistent-data/io/system_calls.h"

namespace era {

// Gives the file `to` the attributes of the file `from`, both open. Returns false if that is not
// allowed or not possible: then `to` is no substitute for `from`. Attributes that describe the
// content (security.capability, security.ima) and those of the administrator (trusted.*) are left
// out; a security label is copied if that is allowed.
bool copy_attributes(int from, int to, persistent_data::system_calls&);

}  // namespace era
