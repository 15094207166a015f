// SPDX-License-Identifier: GPL-3.0-or-later
// Formats each field of a finding by itself. JSON strings are checked byte by byte for valid UTF-8.
#include "era/commands/finding_text.h"

#include <fmt/format.h>

#include "era/text/range_text.h"

namespace era {
namespace {

// The length of the UTF-8 sequence that text begins with; 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && byte(1) < 0xa0) return 0;   // overlong
  if (first == 0xed && byte(1) >= 0xa0) return 0;  // surrogates
  if (first == 0xf0 && byte(1) < 0x90) return 0;   // overlong
  if (first == 0xf4 && byte(1) >= 0x90) return 0;  // past the last code point
  return length;
}

template <class Tag>
std::string range_in_json(pd::range_of<Tag> r) {
  return r.empty() ? "null" : fmt::format("{{\"begin\":{},\"end\":{}}}", r.begin, r.end);
}

// The unit of a finding's hidden range, as the name of a JSON field.
std::string_view hidden_name(part what) {
  switch (what) {
    case part::writeset_tree: return "eras";
    case part::space_map:
    case part::reference_counts: return "counts_of_metadata_blocks";
    case part::superblock:
    case part::writeset:
    case part::current_writeset:
    case part::era_array: return "origin_blocks";
  }
  return "";
}

std::string_view name(part what) {
  switch (what) {
    case part::superblock: return "superblock";
    case part::writeset_tree: return "writeset-tree";
    case part::writeset: return "writeset";
    case part::current_writeset: return "current-writeset";
    case part::era_array: return "era-array";
    case part::space_map: return "space-map";
    case part::reference_counts: return "reference-counts";
  }
  return "unknown";
}

}  // namespace

std::string in_words(const std::string& path, const finding& f) {
  return fmt::format("{}: {}: {}: {}; {}", path, in_words("metadata block", f.blocks),
                     in_words(f.where), f.error.text, meaning(f));
}

std::string in_json(const finding& f) {
  const bool of_an_era = f.where.what == part::writeset || f.where.what == part::current_writeset;
  return fmt::format(
      "{{\"fatal\":{},\"kind\":\"{}\",\"part\":\"{}\",\"snapshot\":{},\"era\":{},"
      "\"metadata_blocks\":{},\"hidden\":{{\"{}\":{}}},\"what\":{},\"meaning\":{}}}",
      f.fatal(), pd::name(f.error.type), name(f.where.what), f.where.snapshot,
      of_an_era ? fmt::to_string(f.where.era.value) : "null", range_in_json(f.blocks),
      hidden_name(f.where.what), range_in_json(f.hidden), json_string(f.error.text),
      json_string(meaning(f)));
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (length == 0)
      out += "\\ufffd";
    else if (c == '"' || c == '\\')
      out += {'\\', static_cast<char>(c)};
    else if (c < 0x20)
      out += fmt::format("\\u{:04x}", c);
    else
      out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out + '"';
}

}  // namespace era
