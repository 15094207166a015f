// SPDX-License-Identifier: GPL-3.0-or-later
// Each program begins with this.
#pragma once

namespace era {

// Occupies descriptors 0, 1 and 2, keeps freed memory, and makes a limit on file sizes and a closed
// pipe errors of the write.
void start_program();

}  // namespace era
