// SPDX-License-Identifier: GPL-3.0-or-later
// Writes metadata as XML, in full or in the compact form.
#pragma once

#include <functional>
#include <string_view>

#include "era/text/text_buffer.h"
#include "era/xml/metadata_sink.h"
#include "era/xml/run_joiner.h"

namespace era {

enum class xml_form {
  full,    // an element for each block
  compact  // an element for each run of blocks
};

// Takes a piece of the document, in order; may throw.
using text_sink = std::function<void(std::string_view)>;

class xml_writer final : public metadata_sink {
 public:
  xml_writer(xml_form, text_sink out);

  encoded_stripe encode_bits(origin_range blocks, std::span<const pd::le64> words) const override;
  encoded_stripe encode_eras(std::uint32_t first,
                             std::span<const std::uint32_t> eras) const override;
  bool encodes_large() const noexcept override { return form_ == xml_form::full; }
  void append(const encoded_stripe&) override;

  void begin_superblock(const xml::superblock_element&) override;
  void begin_writeset(era_nr, std::uint32_t nr_bits) override;
  void bits(origin_range blocks, bool value) override;
  void end_writeset() override;
  void begin_era_array() override;
  void eras(origin_range blocks, era_nr) override;
  void end_era_array() override;
  void end_superblock() override;

 private:
  void add(const value_run&);
  template <class Print>
  void in_pieces(origin_range blocks, Print);
  void flush();
  void flush_large();

  const xml_form form_;
  const text_sink out_;
  const run_printer print_marked_, print_range_;
  text_buffer text_;
  run_joiner runs_;  // compact
};

}  // namespace era
