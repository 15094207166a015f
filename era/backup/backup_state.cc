// SPDX-License-Identifier: GPL-3.0-or-later
// Writes and reads the state with jansson; and writes the summary of a backup (backup_summary.h),
// which has the same parts.
#include "era/backup/backup_state.h"

#include <cstdlib>
#include <limits>

#include <fmt/format.h>

#include "era/backup/backup_summary.h"
#include "era/backup/json_ptr.h"
#include "era/format/units.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

// Changes when a reader of today would misunderstand the document.
constexpr json_int_t format_version = 1;

[[noreturn]] void fail(const std::string& why) {
  throw pd::invalid_input(fmt::format("{}; restore the file, or begin again with --full", why));
}

// If there is no memory for a part, the document cannot be made, which is an error then.
json_ptr pairs(std::size_t count, auto pair_at) {
  json_ptr result(json_array());
  for (std::size_t i = 0; i < count; ++i) {
    const auto [first, second] = pair_at(i);
    json_array_append_new(result.get(), json_pack("[I,I]", static_cast<json_int_t>(first),
                                                  static_cast<json_int_t>(second)));
  }
  return result;
}

// Calls take(first, second) for each pair; both are at most `max`.
template <class Take>
void for_each_pair(json_t* list, const char* name, std::uint64_t max, Take take) {
  std::size_t i = 0;
  json_t* pair = nullptr;
  if (!json_is_array(list)) fail(fmt::format("{} is no list", name));
  json_array_foreach(list, i, pair) {
    json_int_t first = 0, second = 0;
    if (json_unpack_ex(pair, nullptr, JSON_STRICT, "[I,I]", &first, &second) != 0 || first < 0 ||
        second < 0 || static_cast<std::uint64_t>(first) > max ||
        static_cast<std::uint64_t>(second) > max)
      fail(fmt::format("entry {} of {} is no pair of numbers up to {}", i + 1, name, max));
    take(static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(second));
  }
}

std::uint64_t in_limits(const char* name, json_int_t value, std::uint64_t min, std::uint64_t max) {
  if (value < 0 || static_cast<std::uint64_t>(value) < min ||
      static_cast<std::uint64_t>(value) > max)
    fail(fmt::format("{} is {}, which is not from {} to {}", name, value, min, max));
  return static_cast<std::uint64_t>(value);
}

std::string text_of(const json_ptr& document, const backup_state& s) {
  const std::unique_ptr<char, void (*)(void*)> text(
      document ? json_dumps(document.get(), JSON_COMPACT) : nullptr, std::free);
  if (!text)
    throw pd::invalid_input(
        fmt::format("'{}' or '{}' is no UTF-8: JSON cannot name it", s.source, s.target));
  return std::string(text.get()) + '\n';
}

void check(const backup_state& s) {
  if (blocks_for(s.source_bytes, bytes_of_block(s.block_size)) != s.nr_blocks)
    fail(fmt::format("source_bytes {} makes other than {} blocks of {} sectors", s.source_bytes,
                     s.nr_blocks, s.block_size));
  if (s.next_era > std::uint64_t{s.current_era} + 1)
    fail(fmt::format("next_era {} is after the era that follows {}", s.next_era, s.current_era));
  std::uint64_t least = 0;
  for (const witness& w : s.witnesses) {
    if (w.block < least || w.block >= s.nr_blocks)
      fail(fmt::format("block {} of the witnesses is out of order, or past the end", w.block));
    least = std::uint64_t{w.block} + 1;
  }
  least = 0;
  for (const origin_range& r : s.unread) {
    if (r.begin < least || r.empty() || r.end > s.nr_blocks)
      fail(fmt::format("the unread blocks from {} on are out of order, or past the end", r.begin));
    least = r.end;
  }
  if (s.format != "raw" && s.format != "qcow2")
    fail(fmt::format("format is '{}', and must be raw or qcow2", s.format));
}

}  // namespace

std::string to_json(const backup_state& s) {
  json_ptr witnesses = pairs(s.witnesses.size(), [&](std::size_t i) {
    return std::pair(s.witnesses[i].block, s.witnesses[i].era);
  });
  json_ptr unread = pairs(s.unread.size(), [&](std::size_t i) {
    return std::pair(s.unread[i].begin, s.unread[i].end);
  });
  const json_ptr document(
      json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:o, s:o}", "era_backup_state",
                format_version, "source", s.source.c_str(), "source_bytes",
                static_cast<json_int_t>(s.source_bytes), "block_size", json_int_t{s.block_size},
                "nr_blocks", json_int_t{s.nr_blocks}, "current_era", json_int_t{s.current_era},
                "next_era", json_int_t{s.next_era}, "target", s.target.c_str(), "target_is_device",
                s.target_is_device ? 1 : 0, "format", s.format.c_str(), "unread", unread.release(),
                "witnesses", witnesses.release()));
  return text_of(document, s);
}

std::string to_json(const backup_summary& b) {
  const backup_state& s = b.state;
  json_ptr unread = pairs(b.copied.unread.size(), [&](std::size_t i) {
    return std::pair(b.copied.unread[i].begin, b.copied.unread[i].end);
  });
  json_ptr next(b.next_era_is_known ? json_integer(json_int_t{s.next_era}) : json_null());
  const json_ptr document(json_pack(
      "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:b}", "source",
      s.source.c_str(), "target", s.target.c_str(), "format", s.format.c_str(), "block_size",
      json_int_t{s.block_size}, "nr_blocks", json_int_t{s.nr_blocks}, "written_since",
      json_int_t{b.written_since}, "current_era", json_int_t{s.current_era}, "next_era",
      next.release(), "blocks", static_cast<json_int_t>(b.copied.blocks), "bytes",
      static_cast<json_int_t>(b.copied.bytes), "zero_bytes",
      static_cast<json_int_t>(b.copied.zero_bytes), "in_doubt", static_cast<json_int_t>(b.in_doubt),
      "unread", unread.release(), "verified", b.verified ? 1 : 0));
  return text_of(document, s);
}

backup_state backup_state_of_json(std::string_view text) {
  json_error_t error{};
  const json_ptr document(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, &error));
  if (!document) fail(fmt::format("line {}: {}", error.line, error.text));

  backup_state s;
  json_int_t version = 0, source_bytes = 0, block_size = 0, nr_blocks = 0, current = 0, next = 0;
  int is_device = 0;
  const char *source = nullptr, *target = nullptr, *format = nullptr;
  json_t *unread = nullptr, *witnesses = nullptr;
  if (json_unpack_ex(document.get(), &error, 0, "{s:I}", "era_backup_state", &version) != 0)
    fail("is no state of era_backup");
  if (version != format_version)
    fail(fmt::format("is of version {}, and this era_backup reads version {}", version,
                     format_version));
  if (json_unpack_ex(document.get(), &error, JSON_STRICT,
                     "{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:o, s:o}",
                     "era_backup_state", &version, "source", &source, "source_bytes", &source_bytes,
                     "block_size", &block_size, "nr_blocks", &nr_blocks, "current_era", &current,
                     "next_era", &next, "target", &target, "target_is_device", &is_device, "format",
                     &format, "unread", &unread, "witnesses", &witnesses) != 0)
    fail(fmt::format("is no whole state: {}", error.text));
  constexpr std::uint64_t most32 = std::numeric_limits<std::uint32_t>::max();
  s.source = source;
  s.target = target;
  s.target_is_device = is_device != 0;
  s.format = format;
  s.source_bytes = in_limits("source_bytes", source_bytes, 1,
                             static_cast<std::uint64_t>(std::numeric_limits<json_int_t>::max()));
  s.block_size = static_cast<std::uint32_t>(in_limits("block_size", block_size, 1, most32));
  s.nr_blocks = static_cast<std::uint32_t>(in_limits("nr_blocks", nr_blocks, 1, max_origin_blocks));
  s.current_era = static_cast<std::uint32_t>(in_limits("current_era", current, 0, most32));
  s.next_era = static_cast<std::uint32_t>(in_limits("next_era", next, 0, most32));
  for_each_pair(witnesses, "witnesses", most32, [&](std::uint64_t block, std::uint64_t era) {
    s.witnesses.push_back({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(era)});
  });
  for_each_pair(unread, "unread", most32, [&](std::uint64_t begin, std::uint64_t end) {
    s.unread.push_back({begin, end});
  });
  check(s);
  return s;
}

}  // namespace era
