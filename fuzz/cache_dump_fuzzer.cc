// SPDX-License-Identifier: GPL-3.0-or-later
// Dumps of a cache, whole and in pieces: both are accepted, or refused with the same words, except
// for syntax errors. The stale blocks of an accepted dump are those of a model.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "era/cache/stale_blocks.h"
#include "era/format/writeset.h"
#include "fuzz/edits.h"
#include "persistent-data/format/errors.h"

namespace era::fuzz {
namespace {

struct recorder : cache_mapping_sink {
  void begin(const cache_geometry& c) override { cache = c; }
  void add(const cache_mapping& m) override { mappings.push_back(m); }
  cache_geometry cache;
  std::vector<cache_mapping> mappings;
};

xml::byte_source in_pieces(const std::string& text, std::size_t piece) {
  return [&text, piece, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t now = std::min({size, piece, text.size() - at});
    std::copy_n(text.data() + at, now, buffer);
    at += now;
    return now;
  };
}

std::string error_of(const std::string& text, std::size_t piece, recorder& out) {
  try {
    read_cache_dump(in_pieces(text, piece), "dump", out);
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
  return "";
}

// Which of several errors expat finds, and in which line, depends on where its input is cut.
std::string without_syntax(const std::string& error) {
  for (const char* words : {"not well-formed XML: ", "the file ends "})
    if (error.find(words) != std::string::npos) return "not well-formed XML";
  return error;
}

// Every third block of the era device has changed.
constexpr era_device_place place{.offset = 100, .block_size = 24, .nr_blocks = 60};
constexpr std::uint64_t every_third = 0x0249249249249249;

std::set<std::uint64_t> expected(const recorder& dump) {
  std::set<std::uint64_t> stale;
  for (const cache_mapping& m : dump.mappings) {
    const std::uint64_t begin = m.volume_block * dump.cache.block_size,
                        end = begin + dump.cache.block_size;
    for (std::uint64_t b = 0; b < place.nr_blocks; ++b) {
      const std::uint64_t first = place.offset + b * place.block_size;
      if ((m.is_dirty || b % 3 == 0) && begin < first + place.block_size && first < end)
        stale.insert(m.cache_block);
    }
  }
  return stale;
}

std::set<std::uint64_t> listed(const std::string& text) {
  block_set changed(place.nr_blocks);
  const std::vector<std::uint64_t> words{every_third};
  changed.add(stripe_set(words, place.nr_blocks));
  const stale_blocks found = list_stale_blocks(in_pieces(text, 1 << 20), "dump", changed, place);
  std::set<std::uint64_t> blocks;
  const run_formatter collect = [&](text_buffer&, std::span<const origin_range> runs) {
    for (const origin_range& r : runs)
      for (std::uint64_t b = r.begin; b < r.end; ++b) blocks.insert(b);
  };
  print_runs(found.blocks, 1, collect, [](std::string_view) {});
  if (blocks.size() != found.listed) fail("the count is not that of the list");
  return blocks;
}

}  // namespace
}  // namespace era::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  const std::string text(reinterpret_cast<const char*>(data), size);
  recorder whole, again;
  const std::string error = error_of(text, 1 << 20, whole);
  const std::size_t piece = size > 0 ? 1 + data[size - 1] / 4 : 1;
  const std::string in_pieces = error_of(text, piece, again);
  if (without_syntax(error) != without_syntax(in_pieces))
    fail("whole: " + error + "\nin pieces: " + in_pieces);
  if (!error.empty()) return 0;
  std::uint64_t next = 0;
  for (const auto& m : whole.mappings) {
    if (m.cache_block < next || m.cache_block >= whole.cache.nr_blocks)
      fail("cache blocks do not ascend below their number");
    next = m.cache_block + std::uint64_t{1};
  }
  if (listed(text) != expected(whole)) fail("the list is not that of the model");
  return 0;
}
