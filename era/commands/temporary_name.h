// SPDX-License-Identifier: GPL-3.0-or-later
// The name of a file that goes away with the object, or when a signal ends the program.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "persistent-data/io/unique_fd.h"

namespace era {

// While it lives, the signals that end a program from outside (SIGINT, SIGTERM, SIGHUP, SIGQUIT,
// SIGXCPU and others) remove the file before they do. A signal that is ignored stays so, as SIGPIPE
// does after start_program(). There can be several, in any thread; if there are more than 16,
// signals do not remove the files of the later ones.
class temporary_name {
 public:
  // directory: a descriptor, which has to stay open. name: in it, of up to 31 bytes.
  temporary_name(int directory, std::string name);
  // Removes the file, unless it was released.
  ~temporary_name();
  temporary_name(const temporary_name&) = delete;
  temporary_name& operator=(const temporary_name&) = delete;

  const std::string& name() const noexcept { return name_; }

  // The file has another name now.
  void release() noexcept;

 private:
  int directory_;
  std::string name_;
  std::size_t slot_;
  bool released_ = false;
};

// Makes an empty file with a name that hardly any other file has, of 13 bytes: the name of the file
// that it is for may be as long as names can be. No signal leaves it. Returns a descriptor for
// reading and writing, and sets `name`; or none, with errno.
persistent_data::unique_fd make_temporary_file(int directory, unsigned mode,
                                               std::optional<temporary_name>& name);

}  // namespace era
