// SPDX-License-Identifier: GPL-3.0-or-later
// A backup behind an NBD server: one that is named by a URI, or a qemu-nbd that is started here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "era/backup/backup_target.h"

namespace era {

// Is this the name of an NBD export (nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH,
// nbds://...)?
bool is_nbd_uri(const std::string& name);
// Does the URI name a socket by a relative path, which leads to another server elsewhere?
bool has_relative_socket(const std::string& uri);

// The data that a target is to take: whole blocks, and a last one that may be partial.
struct source_layout {
  std::uint64_t bytes;
  std::uint64_t block_bytes;
};

// Connects to a server. Throws device_error: no connection; an export that is smaller than the
// source, or read-only, or cannot be flushed, and so would not keep what it was given; a server
// that takes multiples of a unit only, which the source's blocks or its end are not; or this build
// lacks libnbd.
std::unique_ptr<backup_target> connect_nbd(const std::string& uri, const source_layout&);

struct qcow2_file {
  std::string path;
  std::string name;              // for messages
  std::uint64_t held_bytes = 0;  // of its backing file: that are a backup
  // In bytes: from there on its backing file has nothing. By default it may have something
  // anywhere.
  std::uint64_t zeros_from = ~std::uint64_t{0};
};

// Opens an image for writing, by a qemu-nbd of its own that ends with the target. Throws
// device_error.
std::unique_ptr<backup_target> open_qcow2(const qcow2_file&);

}  // namespace era
