// SPDX-License-Identifier: GPL-3.0-or-later
// An access control list is an extended attribute, too: system.posix_acl_access.
#include "era/commands/file_attributes.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace era {
namespace {

constexpr const char* access_list = "system.posix_acl_access";

// nullopt: the list cannot be read. A file system without such attributes has none.
std::optional<std::vector<std::string>> names_of_attributes(int fd) {
  for (;;) {
    const ssize_t room = ::flistxattr(fd, nullptr, 0);
    std::string text(room < 0 ? 0 : static_cast<std::size_t>(room), '\0');
    const ssize_t size = room <= 0 ? room : ::flistxattr(fd, text.data(), text.size());
    if (size < 0 && errno == ERANGE) continue;  // there are more now
    if (size < 0 && errno != ENOTSUP) return {};
    text.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    std::vector<std::string> names;
    for (std::string_view rest = text; !rest.empty();) {
      names.emplace_back(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(names.back().size() + 1);
    }
    return names;
  }
}

bool copy_attribute(int from, int to, const std::string& name) {
  for (;;) {
    const ssize_t room = ::fgetxattr(from, name.c_str(), nullptr, 0);
    std::string value(room < 0 ? 0 : static_cast<std::size_t>(room), '\0');
    const ssize_t size =
        room <= 0 ? room : ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (size < 0 && errno == ERANGE) continue;
    if (size < 0) return errno == ENODATA;  // it has just gone
    return ::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(size), 0) == 0;
  }
}

bool copy_extended_attributes(int from, int to) {
  const auto names = names_of_attributes(from);
  if (!names) return false;
  for (const std::string& name : *names) {
    const bool needed = name.starts_with("user.") || name.starts_with("system.");
    const bool wanted = name == "security.selinux" || name.starts_with("security.SMACK64");
    if ((needed || wanted) && !copy_attribute(from, to, name) && needed) return false;
  }
  return true;
}

bool copy_owner(const struct stat& wanted, int to, persistent_data::system_calls& calls) {
  struct stat now {};
  if (::fstat(to, &now) != 0) return false;
  if (now.st_uid == wanted.st_uid && now.st_gid == wanted.st_gid) return true;
  return calls.fchown(to, wanted.st_uid, wanted.st_gid) == 0;
}

}  // namespace

bool copy_attributes(int from, int to, persistent_data::system_calls& calls) {
  struct stat status {};
  if (::fstat(from, &status) != 0 || !copy_owner(status, to, calls)) return false;
  // A new file may have a list from its directory, of which the mode would be a part only.
  if (::fremovexattr(to, access_list) != 0 && errno != ENODATA && errno != ENOTSUP) return false;
  return ::fchmod(to, status.st_mode & 0777) == 0 && copy_extended_attributes(from, to);
}

}  // namespace era
