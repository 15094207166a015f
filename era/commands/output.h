// SPDX-License-Identifier: GPL-3.0-or-later
// The output of a command: standard output, or a file that appears whole or not at all.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "era/commands/temporary_name.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/system_calls.h"
#include "persistent-data/io/unique_fd.h"

namespace era {

namespace pd = persistent_data;

// The beginning of a file while it is overwritten in place. It is neither XML, JSON nor a number:
// no reader takes it for a result.
inline constexpr std::string_view incomplete_mark =
    "incomplete: the program that was writing this file was stopped\n";

// Is the path empty or "-"?
bool is_standard_output(const std::string& path);

// path: as is_standard_output says, or a file.
//
// A descriptor of this program (/dev/stdout, /dev/fd/3), a device or a pipe is written directly, a
// block device only if it is not in use.
//
// A regular file, or one that is not there yet, is written under a temporary name in its directory
// and takes its name in commit(): an earlier file stays until then. It must not be in use (see
// in_use.h), and the new one gets its owner, mode, access control list and extended attributes.
//
// If that is not possible (the directory must not be written, the owner cannot be kept, the file is
// a mount point) an earlier file is overwritten in commit(), with what was in a temporary file
// until then. Meanwhile its first line says that it is incomplete.
class output {
 public:
  // Throws device_error.
  explicit output(const std::string& path, pd::system_calls& calls = pd::system_calls::real());

  // Removes an output that was not committed. A signal that ends the program does so, too.
  ~output();
  output(const output&) = delete;
  output& operator=(const output&) = delete;

  // Throws device_error, or closed_pipe.
  void write(std::string_view);
  // Everything is on disk, under its name; what went to standard output has been taken by the
  // system. Throws device_error. Then an earlier file is as it was, or, if it was to be
  // overwritten, its first line may say that it is incomplete; if only the directory could not be
  // flushed, it has been replaced.
  void commit();

 private:
  void open_in_directory(const std::string& directory);
  void replace_file();
  int create_temporary(unsigned mode);
  void flush(int fd);
  void close_a_copy();
  bool take_name();
  void overwrite();
  void reserve_room(std::uint64_t bytes);
  void copy(std::uint64_t begin, std::uint64_t end);
  void put(std::string_view, std::uint64_t at);
  [[noreturn]] void fail(int error) const;

  pd::system_calls& calls_;
  std::string name_;         // for messages
  std::string file_name_;    // in directory_
  pd::unique_fd directory_;  // O_PATH
  pd::unique_fd earlier_;    // the file that is replaced, locked
  pd::unique_fd own_;        // what is written to, except for standard output
  int fd_ = 1;               // what is written to
  bool overwrites_ = false, has_overwritten_ = false;
  std::optional<temporary_name> temporary_;  // in directory_
};

// Writes all of it to standard output. Throws device_error, or closed_pipe.
void print(std::string_view text);

// Throws device_error if writing to the output would change the input: "out.img: is WHAT itself".
// Input: has overlaps(), of a path and of a descriptor. path: as output's.
template <class Input>
void require_other_output(const Input& input, std::string_view what, const std::string& path) {
  const bool standard = is_standard_output(path);
  if (standard ? input.overlaps(STDOUT_FILENO) : input.overlaps(path))
    throw pd::device_error(fmt::format("{}: is {} itself; name another output",
                                       standard ? "standard output" : path, what));
}

}  // namespace era
