// SPDX-License-Identifier: GPL-3.0-or-later
// A program that finds no descriptor for its client may wait for one for ever: so the limit is
// looked at first.
#include "era/backup/open_files.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace era {

void allow_open_files(std::uint64_t needed, const std::string& who) {
  namespace pd = persistent_data;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    throw pd::device_error(fmt::format("{}: {}", who, std::strerror(errno)));
  if (limit.rlim_cur >= needed) return;
  const rlim_t most = limit.rlim_max;
  limit.rlim_cur = needed;
  if (most < needed || ::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    throw pd::device_error(
        fmt::format("{}: no more than {} files may be open, and {} are needed; raise the limit "
                    "(ulimit -n)",
                    who, most, needed));
}

}  // namespace era
