// SPDX-License-Identifier: GPL-3.0-or-later
// Follows symbolic links one by one, up to as many as the kernel follows. Stops at a name that is
// no link, or at a descriptor of this process: opening that by name would lose its file position.
#include "era/commands/output_place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "era/commands/output.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

constexpr int most_links = 40;  // as in the kernel

[[noreturn]] void fail(const std::string& path, int error) {
  throw pd::device_error(fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

// The target of a symbolic link; empty if it is none.
std::string link_target(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return target;
}

// The directory's name without links, in which this program's descriptors are links of their own
// kind: to open one of them opens its file anew, from the beginning.
bool is_own_descriptors(const std::string& directory) {
  const std::string own = "/proc/" + link_target("/proc/self");
  return directory == own + "/fd" ||
         (directory.starts_with(own + "/task/") && directory.ends_with("/fd"));
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 10 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

}  // namespace

output_place find_output_place(const std::string& path) {
  struct stat named {};
  const bool is_there = ::stat(path.c_str(), &named) == 0;
  if (!is_there && errno != ENOENT) fail(path, errno);
  if (path.ends_with('/')) fail(path, is_there ? EISDIR : ENOENT);
  std::string current = path;
  for (int links = 0; links <= most_links; ++links) {
    const std::size_t slash = current.rfind('/');
    const std::string above = slash == current.npos ? "." : current.substr(0, slash + 1);
    const std::string name = slash == current.npos ? current : current.substr(slash + 1);
    const std::unique_ptr<char, decltype(&std::free)> directory(::realpath(above.c_str(), nullptr),
                                                                &std::free);
    if (!directory) fail(path, errno);
    if (is_number(name) && is_own_descriptors(directory.get()))
      return {.descriptor = std::stoi(name), .directory = "", .name = ""};
    current = fmt::format("{}/{}", directory.get(), name);
    const std::string target = link_target(current);
    if (target.empty()) {
      // A link of another process's descriptors leads elsewhere than it says.
      struct stat found {};
      if (is_there && (::stat(current.c_str(), &found) != 0 || found.st_dev != named.st_dev ||
                       found.st_ino != named.st_ino))
        fail(path, ENOENT);
      return {.descriptor = -1, .directory = directory.get(), .name = name};
    }
    current = target.starts_with('/') ? target : fmt::format("{}/{}", directory.get(), target);
  }
  fail(path, ELOOP);
}

}  // namespace era
