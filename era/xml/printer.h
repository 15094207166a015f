// SPDX-License-Identifier: GPL-3.0-or-later
// A document that is printed: what the reader takes in, written again as era_dump writes it.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "era/text/text_buffer.h"
#include "era/xml/reader.h"
#include "era/xml/run_joiner.h"

namespace era::xml {

enum class form { full, compact };

class printer final : public document {
 public:
  // out takes the text in pieces, in order; it may throw.
  printer(form, std::function<void(std::string_view)> out);

  void begin_superblock(const superblock_element&) override;
  void begin_writeset(era_nr, std::uint32_t nr_bits) override;
  void bits(pd::range blocks, bool value) override;
  void end_writeset() override;
  void begin_era_array() override;
  void eras(pd::range blocks, era_nr) override;
  void end_era_array() override;
  void end_superblock() override;

 private:
  // Runs that meet are one in the compact form.
  void add(const value_run&);
  template <class Print>
  void in_pieces(pd::range blocks, Print);
  void print_run();
  void flush_large();

  form form_;
  std::function<void(std::string_view)> out_;
  text_buffer text_;
  std::optional<value_run> run_;
  bool in_writeset_ = false;
};

}  // namespace era::xml
