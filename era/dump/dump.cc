// SPDX-License-Identifier: GPL-3.0-or-later
// The document in pieces: a block of a writeset's bitset, or a stripe of the era array.
#include "era/dump/dump.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "era/metadata/content.h"
#include "era/metadata/stripe.h"
#include "era/xml/run_joiner.h"
#include "era/xml/writer.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

// What a worker makes of a piece.
struct dumped {
  text_buffer text;    // in full
  piece_of_runs runs;  // compact
  std::vector<finding> findings;
};

void print_marked(text_buffer& text, const value_run& run) { xml::marked(text, run.blocks); }
void print_range(text_buffer& text, const value_run& run) {
  xml::era_range(text, run.blocks, {run.value});
}

void collect_eras(std::span<const std::uint32_t> eras, std::uint64_t first, run_collector& runs) {
  for (std::size_t i = 0; i < eras.size();) {
    const std::size_t begin = i;
    while (i < eras.size() && eras[i] == eras[begin]) ++i;
    runs.add({{first + begin, first + i}, eras[begin]});
  }
}

// Stretches of set bits, word by word.
void collect_marked(std::span<const pd::le64> words, pd::range blocks, run_collector& runs) {
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::uint64_t first = blocks.begin + w * bits_per_word;
    std::uint64_t word = words[w];
    for (unsigned bit = 0; word != 0;) {
      const auto skip = static_cast<unsigned>(std::countr_zero(word));
      bit += skip;
      word >>= skip;
      const auto length = static_cast<unsigned>(std::countr_one(word));
      const pd::range run = pd::intersection({first + bit, first + bit + length}, {0, blocks.end});
      if (!run.empty()) runs.add({run, 1});
      bit += length;
      word = length < bits_per_word ? word >> length : 0;
    }
  }
}

// Makes pieces, in one thread.
class piece_maker {
 public:
  piece_maker(const metadata& m, const pd::block_device& device, const dump_options& options)
      : options_(options),
        reader_(device),
        folder_(m, device, options.logical ? fold_what::everything : fold_what::era_array_only),
        m_(m) {}

  dumped writeset_piece(const writeset& ws, std::uint64_t i) {
    dumped piece;
    const array_position position{&ws.bits, ws.where, i, ws.nr_bits};
    const pd::range blocks = pd::intersection(position.origin_blocks(), {0, ws.nr_bits});
    const auto print = [&](std::size_t, const pd::block& b) -> std::optional<finding> {
      const auto words = pd::array_values<pd::le64>(b);
      if (options_.compact) {
        run_collector runs(piece.runs, print_marked_);
        collect_marked(words, blocks, runs);
      } else {
        xml::bits(piece.text, blocks, words);
      }
      return {};
    };
    reader_.read(std::span(&position, 1), print, piece.findings);
    return piece;
  }

  dumped era_piece(std::uint64_t stripe) {
    dumped piece;
    const auto eras = folder_.fold(stripe, piece.findings);
    const std::uint64_t first = stripe_blocks(m_, stripe).begin;
    if (options_.compact) {
      run_collector runs(piece.runs, print_range_);
      collect_eras(eras, first, runs);
    } else {
      xml::eras(piece.text, {static_cast<std::uint32_t>(first)}, eras);
    }
    return piece;
  }

 private:
  const run_printer print_marked_ = print_marked, print_range_ = print_range;
  const dump_options& options_;
  content_reader reader_;
  stripe_folder folder_;
  const metadata& m_;
};

class dumper {
 public:
  dumper(const metadata& m, const pd::block_device& device, const dump_options& options,
         const text_sink& out, const finding_sink& sink)
      : m_(m), device_(device), options_(options), out_(out), sink_(sink) {
    std::uint64_t end = 0;
    if (!options.logical)
      for (const writeset& ws : m.writesets) ends_.push_back(end += ws.bits.nr_blocks());
    ends_.push_back(end + nr_stripes(m));
  }

  bool dump() {
    const auto new_worker = [this] {
      return [this, maker = piece_maker(m_, device_, options_)](std::size_t i) mutable {
        const std::size_t section = section_of(i);
        const std::uint64_t within = i - (section == 0 ? 0 : ends_[section - 1]);
        return is_writeset(section) ? maker.writeset_piece(m_.writesets[section], within)
                                    : maker.era_piece(within);
      };
    };
    struct ended_by_damage {};
    const auto use = [this](std::size_t i, const dumped& piece) {
      for (const finding& f : piece.findings) sink_(f);
      if (!piece.findings.empty()) throw ended_by_damage();
      while (i >= ends_[open_]) next_section();
      append(piece);
    };
    xml::begin_superblock(text_, m_.sb);
    begin_section();
    try {
      pd::in_order(device_.nr_workers(), ends_.back(), new_worker, use);
    } catch (const ended_by_damage&) {
      return false;
    }
    while (is_writeset(open_)) next_section();
    end_section();
    xml::end_superblock(text_);
    flush();
    return true;
  }

 private:
  // The document's sections: the writesets, if they are printed, then the era array.
  bool is_writeset(std::size_t section) const { return section + 1 < ends_.size(); }

  std::size_t section_of(std::uint64_t piece) const {
    const auto at = std::upper_bound(ends_.begin(), ends_.end(), piece);
    return static_cast<std::size_t>(at - ends_.begin());
  }

  void begin_section() {
    const bool in_writeset = is_writeset(open_);
    if (in_writeset)
      xml::begin_writeset(text_, m_.writesets[open_].where.era, m_.writesets[open_].nr_bits);
    else
      xml::begin_era_array(text_);
    runs_ = run_joiner(in_writeset ? print_marked : print_range);
  }

  void end_section() {
    runs_.finish(text_);
    is_writeset(open_) ? xml::end_writeset(text_) : xml::end_era_array(text_);
    if (text_.size() >= large) flush();
  }

  void next_section() {
    end_section();
    ++open_;
    begin_section();
  }

  void append(const dumped& piece) {
    if (options_.compact) {
      runs_.add(piece.runs, text_);
      if (text_.size() >= large) flush();
    } else if (piece.text.size() < large / 2) {
      text_.append(piece.text.view());
      if (text_.size() >= large) flush();
    } else {
      flush();
      out_(piece.text.view());
    }
  }

  void flush() {
    if (text_.size() > 0) out_(text_.view());
    text_.clear();
  }

  static constexpr std::size_t large = 1 << 20;

  const metadata& m_;
  const pd::block_device& device_;
  const dump_options& options_;
  const text_sink& out_;
  const finding_sink& sink_;
  std::vector<std::uint64_t> ends_;  // of each section, in pieces of the document
  std::size_t open_ = 0;
  run_joiner runs_{print_range};
  text_buffer text_;
};

}  // namespace

bool dump_metadata(const metadata& m, const pd::block_device& device, const dump_options& options,
                   const text_sink& out, const finding_sink& sink) {
  return dumper(m, device, options, out, sink).dump();
}

}  // namespace era
