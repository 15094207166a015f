// SPDX-License-Identifier: GPL-3.0-or-later
// Appends each element to a text buffer, which goes out in pieces of about 1 MiB. The full form
// prints a run block by block; the compact form holds the last run back, in case the next one
// continues it.
#include "era/xml/printer.h"

#include <algorithm>
#include <utility>

#include "era/xml/writer.h"

namespace era::xml {

printer::printer(form f, std::function<void(std::string_view)> out)
    : form_(f), out_(std::move(out)) {}

void printer::flush_large() {
  constexpr std::size_t large = 1 << 20;
  if (text_.size() < large) return;
  out_(text_.view());
  text_.clear();
}

void printer::begin_superblock(const superblock_element& element) {
  superblock sb{};
  sb.data_block_size = element.block_size;
  sb.nr_blocks = element.nr_blocks;
  sb.current_era = element.current_era.value;
  sb.uuid = element.uuid;
  xml::begin_superblock(text_, sb);
}

void printer::begin_writeset(era_nr era, std::uint32_t nr_bits) {
  xml::begin_writeset(text_, era, nr_bits);
  in_writeset_ = true;
}

void printer::bits(pd::range blocks, bool value) {
  if (form_ == form::full)
    in_pieces(blocks, [&](pd::range piece) { equal_bits(text_, piece, value); });
  else if (value)
    add({blocks, 1});
}

void printer::end_writeset() {
  print_run();
  xml::end_writeset(text_);
  in_writeset_ = false;
}

void printer::begin_era_array() { xml::begin_era_array(text_); }

void printer::eras(pd::range blocks, era_nr era) {
  if (form_ == form::full)
    in_pieces(blocks, [&](pd::range piece) { equal_eras(text_, piece, era); });
  else
    add({blocks, era.value});
}

void printer::end_era_array() {
  print_run();
  xml::end_era_array(text_);
}

void printer::end_superblock() {
  xml::end_superblock(text_);
  out_(text_.view());
  text_.clear();
}

template <class Print>
void printer::in_pieces(pd::range blocks, Print print) {
  constexpr std::uint64_t piece = 1 << 14;
  for (std::uint64_t at = blocks.begin; at < blocks.end; at += piece) {
    print(pd::range{at, std::min(at + piece, blocks.end)});
    flush_large();
  }
}

void printer::add(const value_run& run) {
  if (run_ && run_->blocks.end == run.blocks.begin && run_->value == run.value) {
    run_->blocks.end = run.blocks.end;
    return;
  }
  print_run();
  run_ = run;
}

void printer::print_run() {
  if (!run_) return;
  if (in_writeset_)
    marked(text_, run_->blocks);
  else
    era_range(text_, run_->blocks, {run_->value});
  run_.reset();
  flush_large();
}

}  // namespace era::xml
