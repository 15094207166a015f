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

void allow_open_files(std::uint64_t needed, const std::string& who, const std::string& other_ways) {
  namespace pd = persistent_data;
  rlimit limit{};
  const auto fail = [&] {
    throw pd::device_error(
        fmt::format("{}: cannot raise the limit of open files: {}", who, std::strerror(errno)));
  };
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail();
  if (limit.rlim_cur >= needed) return;
  if (limit.rlim_max < needed)
    throw pd::device_error(fmt::format(
        "{} needs {} open files, and no more than {} files may be open: raise the limit (ulimit "
        "-n){}",
        who, needed, limit.rlim_max, other_ways));
  limit.rlim_cur = needed;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail();
}

}  // namespace era
