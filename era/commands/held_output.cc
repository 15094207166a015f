// SPDX-License-Identifier: GPL-3.0-or-later
// See held_output.h.
#include "era/commands/held_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace era {

namespace {
constexpr std::size_t in_memory = 16 << 20;
}

held_output::~held_output() {
  if (spilled_ >= 0) ::close(spilled_);
}

void held_output::write(std::string_view text) {
  if (!holds_) return out_.write(text);
  text_ += text;
  if (text_.size() >= in_memory) spill();
}

// Into a file without a name.
void held_output::spill() {
  const char* directory = std::getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  const auto fail = [&] {
    throw output_error(
        fmt::format("cannot write a temporary file in {}: {}; name another directory "
                    "in TMPDIR, or a file with --output",
                    directory, std::strerror(errno)));
  };
  if (spilled_ < 0) {
    std::string name = std::string(directory) + "/era_tools.XXXXXX";
    spilled_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (spilled_ < 0) fail();
    ::unlink(name.c_str());
  }
  for (std::string_view rest = text_; !rest.empty();) {
    const ssize_t written = ::write(spilled_, rest.data(), rest.size());
    if (written < 0 && errno != EINTR) fail();
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
  }
  text_.clear();
}

void held_output::commit() {
  if (spilled_ >= 0) {
    std::vector<char> buffer(1 << 20);
    off_t at = 0;
    while (true) {
      const ssize_t got = ::pread(spilled_, buffer.data(), buffer.size(), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        throw output_error(
            fmt::format("cannot read a temporary file again: {}", std::strerror(errno)));
      if (got == 0) break;
      out_.write({buffer.data(), static_cast<std::size_t>(got)});
      at += got;
    }
  }
  out_.write(text_);
  out_.commit();
}

}  // namespace era
