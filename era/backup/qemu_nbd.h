// SPDX-License-Identifier: GPL-3.0-or-later
// A qemu-nbd that serves one image to this process alone, and does not outlive it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "persistent-data/io/unique_fd.h"

namespace era {

// Files that it has open beside those of the image's chain. With fewer, it could wait for a
// descriptor for ever.
inline constexpr unsigned qemu_nbd_files = 64;

class qemu_nbd {
 public:
  // Starts it with these arguments, found by PATH, and gives it a socket without a name in any
  // directory (socket activation). It ends with its only client, or with the thread that started
  // it. Throws device_error if there is no memory or no process for it, or if fewer than
  // qemu_nbd_files may be open: for a chain of images, the caller allows more. If there is no such
  // program, its client's connection breaks.
  explicit qemu_nbd(const std::vector<std::string>& arguments);
  // Ends it, and waits for that: its client must be closed by then, and what it wrote flushed.
  ~qemu_nbd();
  qemu_nbd(const qemu_nbd&) = delete;
  qemu_nbd& operator=(const qemu_nbd&) = delete;

  // Returns the descriptor of a connected socket, which the caller owns. To be called once. Throws
  // device_error.
  int connect();

 private:
  persistent_data::unique_fd client_;
  pid_t pid_ = -1;
};

}  // namespace era
