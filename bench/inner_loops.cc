// SPDX-License-Identifier: GPL-3.0-or-later
// The speed of the inner loops, beside that of memory: checksums, folding, filtering, formatting
// and parsing, each on blocks that fit into the cache. NAME_plain does the same as NAME, as one
// would write it who does not care for speed: one value after the other, {fmt}, or expat.
#include <benchmark/benchmark.h>
#include <expat.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "era/metadata/content.h"
#include "era/metadata/raise.h"
#include "era/metadata/write_evidence.h"
#include "era/text/list_writer.h"
#include "era/text/text_buffer.h"
#include "era/xml/reader.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/block.h"
#include "persistent-data/format/checksum.h"

namespace era {
namespace {

constexpr std::size_t blocks = 32;

std::vector<pd::block> random_blocks() {
  std::vector<pd::block> made(blocks);
  std::mt19937_64 random(1);  // NOLINT(cert-msc51-cpp): the same work at each run
  for (pd::block& b : made)
    for (std::byte& byte : b.bytes) byte = static_cast<std::byte>(random());
  return made;
}

void count_blocks(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(blocks * pd::block_size));
}

// Reads 256 MiB, more than a cache has.
void read_memory(benchmark::State& state) {
  const std::vector<std::uint64_t> words(std::size_t{32} << 20, 1);
  for (auto _ : state) {
    std::uint64_t sums[8] = {};
    for (std::size_t i = 0; i < words.size(); i += 8)
      for (std::size_t k = 0; k < 8; ++k) sums[k] += words[i + k];
    benchmark::DoNotOptimize(sums);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(words.size() * 8));
}
BENCHMARK(read_memory);

void checksum(benchmark::State& state) {
  const auto data = random_blocks();
  for (auto _ : state)
    for (const pd::block& b : data) benchmark::DoNotOptimize(pd::crc32c(b.bytes));
  count_blocks(state);
}
BENCHMARK(checksum);

void checksum_plain(benchmark::State& state) {
  const auto data = random_blocks();
  for (auto _ : state)
    for (const pd::block& b : data) benchmark::DoNotOptimize(pd::detail::crc32c_portable(b.bytes));
  count_blocks(state);
}
BENCHMARK(checksum_plain);

void validate(benchmark::State& state) {
  auto data = random_blocks();
  for (std::size_t i = 0; i < blocks; ++i)
    pd::prepare_for_write(pd::array_block_kind, data[i], {i + 1});
  for (auto _ : state)
    for (std::size_t i = 0; i < blocks; ++i)
      benchmark::DoNotOptimize(pd::validate(pd::array_block_kind, data[i], {i + 1}));
  count_blocks(state);
}
BENCHMARK(validate);

void prepare_for_write(benchmark::State& state) {
  auto data = random_blocks();
  for (auto _ : state)
    for (std::size_t i = 0; i < blocks; ++i)
      pd::prepare_for_write(pd::array_block_kind, data[i], {i + 1});
  count_blocks(state);
}
BENCHMARK(prepare_for_write);

std::span<const pd::le32> as_eras(const pd::block& b) {
  return {reinterpret_cast<const pd::le32*>(b.bytes.data()), pd::block_size / sizeof(pd::le32)};
}

void fold_eras(benchmark::State& state) {
  const auto data = random_blocks();
  std::vector<std::uint32_t> eras(pd::block_size / sizeof(pd::le32));
  for (auto _ : state)
    for (const pd::block& b : data) raise(std::span(eras), as_eras(b));
  benchmark::DoNotOptimize(eras);
  count_blocks(state);
}
BENCHMARK(fold_eras);

// No vectoriser gets past DoNotOptimize.
void fold_eras_plain(benchmark::State& state) {
  const auto data = random_blocks();
  std::vector<std::uint32_t> eras(pd::block_size / sizeof(pd::le32));
  for (auto _ : state)
    for (const pd::block& b : data)
      for (std::size_t i = 0; i < eras.size(); ++i) {
        std::uint32_t era = std::max<std::uint32_t>(eras[i], as_eras(b)[i]);
        benchmark::DoNotOptimize(era);
        eras[i] = era;
      }
  benchmark::DoNotOptimize(eras);
  count_blocks(state);
}
BENCHMARK(fold_eras_plain);

void newest_of_eras(benchmark::State& state) {
  const auto data = random_blocks();
  for (auto _ : state)
    for (const pd::block& b : data) benchmark::DoNotOptimize(newest_era(as_eras(b)));
  count_blocks(state);
}
BENCHMARK(newest_of_eras);

void newest_of_eras_plain(benchmark::State& state) {
  const auto data = random_blocks();
  for (auto _ : state)
    for (const pd::block& b : data) {
      std::uint32_t newest = 0;
      for (const pd::le32 era : as_eras(b)) {
        newest = std::max<std::uint32_t>(newest, era);
        benchmark::DoNotOptimize(newest);
      }
    }
  count_blocks(state);
}
BENCHMARK(newest_of_eras_plain);

std::vector<origin_range> some_runs() {
  std::vector<origin_range> runs;
  for (std::uint64_t b = 1'000'000; runs.size() < 4096; b += 7) runs.push_back({b, b + 3});
  return runs;
}

// Lines a second.
void format_list(benchmark::State& state) {
  const auto runs = some_runs();
  for (auto _ : state) {
    text_buffer out;
    list_writer(list_format::xml, 1).lines(out, runs);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(runs.size()));
}
BENCHMARK(format_list);

void format_list_plain(benchmark::State& state) {
  const auto runs = some_runs();
  for (auto _ : state) {
    std::string out;
    for (const origin_range& r : runs)
      fmt::format_to(std::back_inserter(out), "  <range begin=\"{}\" end = \"{}\"/>\n", r.begin,
                     r.end);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(runs.size()));
}
BENCHMARK(format_list_plain);

struct ignored final : xml::element_sink {
  void begin_superblock(const xml::superblock_element&) override {}
  void begin_writeset(era_nr, std::uint32_t) override {}
  void bits(origin_range, bool) override {}
  void end_writeset() override {}
  void begin_era_array() override {}
  void eras(origin_range, era_nr) override {}
  void end_era_array() override {}
  void end_superblock() override {}
};

std::string some_xml() {
  std::string text =
      "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"100000\" current_era=\"9\">\n"
      "  <era_array>\n";
  for (int i = 0; i < 100'000; ++i)
    text += fmt::format("    <era block=\"{}\" era=\"{}\"/>\n", i, i % 9);
  return text + "  </era_array>\n</superblock>\n";
}

void scan_xml(benchmark::State& state) {
  const std::string text = some_xml();
  for (auto _ : state) {
    std::size_t at = 0;
    ignored document;
    xml::read(
        [&](char* buffer, std::size_t size) {
          const std::size_t n = std::min(size, text.size() - at);
          text.copy(buffer, n, at);
          at += n;
          return n;
        },
        "benchmark", document);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(scan_xml);

void scan_xml_plain(benchmark::State& state) {
  const std::string text = some_xml();
  for (auto _ : state) {
    std::uint64_t sum = 0;
    const XML_Parser parser = XML_ParserCreate(nullptr);
    XML_SetUserData(parser, &sum);
    XML_SetStartElementHandler(parser, [](void* to, const char*, const char** attributes) {
      for (; *attributes != nullptr; attributes += 2)
        *static_cast<std::uint64_t*>(to) += std::strtoull(attributes[1], nullptr, 10);
    });
    if (XML_Parse(parser, text.data(), static_cast<int>(text.size()), 1) != XML_STATUS_OK)
      state.SkipWithError("expat refuses it");
    XML_ParserFree(parser);
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(scan_xml_plain);

}  // namespace
}  // namespace era

BENCHMARK_MAIN();
