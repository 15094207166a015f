// SPDX-License-Identifier: GPL-3.0-or-later
// The text goes out in pieces of about 1 MiB. In the compact form, each stripe keeps its first and
// last run apart, so that runs that meet become one element.
#include "era/xml/xml_writer.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "era/format/writeset.h"
#include "era/xml/writer.h"

namespace era {
namespace {

constexpr std::size_t large = 1 << 20;

void collect_eras(std::span<const std::uint32_t> eras, std::uint64_t first, run_collector& runs) {
  for (std::size_t i = 0; i < eras.size();) {
    const std::size_t begin = i;
    while (i < eras.size() && eras[i] == eras[begin]) ++i;
    runs.add({{first + begin, first + i}, eras[begin]});
  }
}

// Runs of set bits, word by word.
void collect_marked(std::span<const pd::le64> words, origin_range blocks, run_collector& runs) {
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::uint64_t first = blocks.begin + w * bits_per_word;
    std::uint64_t word = words[w];
    for (unsigned bit = 0; word != 0;) {
      const auto skip = static_cast<unsigned>(std::countr_zero(word));
      bit += skip;
      word >>= skip;
      const auto length = static_cast<unsigned>(std::countr_one(word));
      const origin_range run =
          pd::intersection(origin_range{first + bit, first + bit + length}, {0, blocks.end});
      if (!run.empty()) runs.add({run, 1});
      bit += length;
      word = length < bits_per_word ? word >> length : 0;
    }
  }
}

}  // namespace

xml_writer::xml_writer(xml_form form, text_sink out)
    : form_(form),
      out_(std::move(out)),
      print_marked_([](text_buffer& to, const value_run& run) { xml::marked(to, run.blocks); }),
      print_range_([](text_buffer& to, const value_run& run) {
        xml::era_range(to, run.blocks, {run.value});
      }),
      runs_(print_range_) {}

encoded_stripe xml_writer::encode_bits(origin_range blocks, std::span<const pd::le64> words) const {
  encoded_stripe stripe;
  if (form_ == xml_form::compact) {
    run_collector runs(stripe.runs, print_marked_);
    collect_marked(words, blocks, runs);
  } else {
    xml::bits(stripe.text, blocks, words);
  }
  return stripe;
}

encoded_stripe xml_writer::encode_eras(std::uint32_t first,
                                       std::span<const std::uint32_t> eras) const {
  encoded_stripe stripe;
  if (form_ == xml_form::compact) {
    run_collector runs(stripe.runs, print_range_);
    collect_eras(eras, first, runs);
  } else {
    xml::eras(stripe.text, {first}, eras);
  }
  return stripe;
}

void xml_writer::append(const encoded_stripe& stripe) {
  if (form_ == xml_form::compact) {
    runs_.add(stripe.runs, text_);
  } else if (stripe.text.size() < large / 2) {
    text_.append(stripe.text.view());
  } else {
    flush();
    out_(stripe.text.view());
  }
  flush_large();
}

void xml_writer::begin_superblock(const xml::superblock_element& element) {
  superblock sb{};
  sb.data_block_size = element.block_size;
  sb.nr_blocks = element.nr_blocks;
  sb.current_era = element.current_era.value;
  sb.uuid = element.uuid;
  xml::begin_superblock(text_, sb);
}

void xml_writer::begin_writeset(era_nr era, std::uint32_t nr_bits) {
  xml::begin_writeset(text_, era, nr_bits);
  runs_ = run_joiner(print_marked_);
}

void xml_writer::bits(origin_range blocks, bool value) {
  if (form_ == xml_form::full)
    in_pieces(blocks, [&](origin_range piece) { xml::equal_bits(text_, piece, value); });
  else if (value)
    add({blocks, 1});
}

void xml_writer::end_writeset() {
  runs_.finish(text_);
  xml::end_writeset(text_);
  flush_large();
}

void xml_writer::begin_era_array() {
  xml::begin_era_array(text_);
  runs_ = run_joiner(print_range_);
}

void xml_writer::eras(origin_range blocks, era_nr era) {
  if (form_ == xml_form::full)
    in_pieces(blocks, [&](origin_range piece) { xml::equal_eras(text_, piece, era); });
  else
    add({blocks, era.value});
}

void xml_writer::end_era_array() {
  runs_.finish(text_);
  xml::end_era_array(text_);
}

void xml_writer::end_superblock() {
  xml::end_superblock(text_);
  flush();
}

template <class Print>
void xml_writer::in_pieces(origin_range blocks, Print print) {
  constexpr std::uint64_t piece = 1 << 14;
  for (std::uint64_t at = blocks.begin; at < blocks.end; at += piece) {
    print(origin_range{at, std::min(at + piece, blocks.end)});
    flush_large();
  }
}

void xml_writer::add(const value_run& run) {
  runs_.add(run, text_);
  flush_large();
}

void xml_writer::flush() {
  if (text_.size() > 0) out_(text_.view());
  text_.clear();
}

void xml_writer::flush_large() {
  if (text_.size() >= large) flush();
}

}  // namespace era
