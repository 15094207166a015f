// SPDX-License-Identifier: GPL-3.0-or-later
// The attributes of an XML element, read strictly: an attribute that is missing, unknown or not of
// its type is an error.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string_view>

namespace era::xml {

// Each function throws invalid_input, whose text names the attribute.
class attribute_list {
 public:
  // As expat passes them: name, value, name, value, ... and a null pointer. They must outlive this.
  // Expat refuses an attribute that is given twice.
  explicit attribute_list(const char** attributes) : attributes_(attributes) {}

  bool has(std::string_view name) const;
  std::string_view text(std::string_view name) const;
  // A decimal number of at most max.
  std::uint64_t number(std::string_view name, std::uint64_t max) const;
  std::uint32_t number32(std::string_view name,
                         std::uint32_t max = std::numeric_limits<std::uint32_t>::max()) const;
  // "true" or "false".
  bool boolean(std::string_view name) const;
  // Throws invalid_input if there is any other attribute.
  void nothing_but(std::initializer_list<std::string_view> known) const;

 private:
  const char** attributes_;
};

}  // namespace era::xml
