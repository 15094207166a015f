// SPDX-License-Identifier: GPL-3.0-or-later
// A stripe is read as one batch: its blocks of the era array, and those of all sources that have
// one there. Each block raises the known eras, or only the assumed ones; a block that cannot be
// used raises the assumed eras of all that it covered. Blocks that are lost in whole are never
// looked for: assumed_ranges has them.
#include "era/repair/salvaged.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <utility>

#include "era/format/writeset.h"
#include "era/metadata/content.h"
#include "era/metadata/raise.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::size_t words_per_stripe = bits_per_bitset_block / bits_per_word;
using stripe_bits = std::array<pd::le64, words_per_stripe>;

pd::range origin_blocks_of(std::uint64_t stripe, std::uint64_t end) {
  return pd::intersection({stripe * bits_per_bitset_block, (stripe + 1) * bits_per_bitset_block},
                          {0, end});
}

std::uint64_t stripes_for(std::uint64_t blocks) {
  return (blocks + bits_per_bitset_block - 1) / bits_per_bitset_block;
}

void set(stripe_bits& bits, pd::range r) {
  for (std::uint64_t at = r.begin; at < r.end;) {
    const std::uint64_t low = at % bits_per_word;
    const std::uint64_t n = std::min<std::uint64_t>(r.end - at, bits_per_word - low);
    const std::uint64_t all = n == bits_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
    bits[at / bits_per_word] = bits[at / bits_per_word] | all << low;
    at += n;
  }
}

// An array block that nothing places, as it was scanned; it may have changed since.
bool is_stray(const pd::block* b, pd::block_nr where, std::uint32_t value_size) {
  return b && pd::identify(*b, where) == &pd::array_block_kind &&
         pd::is_array_block_of(*b, value_size);
}

}  // namespace

void salvaged::resolve() {
  std::uint32_t last = 0;
  bool ascending = true;
  for (const bitset_source& s : sources) {
    // Damage may hide all from here on; there is nothing to be read.
    if (const std::uint64_t known = s.bits.known_end(); known < s.bits.nr_blocks())
      ranges.add(s.era, {known * bits_per_bitset_block, s.nr_bits}, nr_blocks);
    ascending = ascending && last <= s.era;
    last = s.era;
  }
  if (!ascending)
    std::sort(sources.begin(), sources.end(),
              [](const bitset_source& a, const bitset_source& b) { return a.era < b.era; });
  ranges.resolve();
  longest_first.resize(sources.size());
  std::iota(longest_first.begin(), longest_first.end(), 0u);
  std::sort(longest_first.begin(), longest_first.end(), [&](std::uint32_t a, std::uint32_t b) {
    return sources[a].bits.known_end() > sources[b].bits.known_end();
  });
}

std::span<const std::uint32_t> salvaged::sources_at(std::uint64_t stripe) const noexcept {
  const auto end =
      std::partition_point(longest_first.begin(), longest_first.end(),
                           [&](std::uint32_t i) { return sources[i].bits.known_end() > stripe; });
  return {longest_first.begin(), end};
}

// Reads stripes, for one thread.
class salvaged_reader {
 public:
  salvaged_reader(const salvaged& s, const pd::block_device& device)
      : s_(s), queue_(device.make_engine(), device.nr_blocks()) {}

  void fold(std::uint64_t stripe) {
    begin_eras(stripe);
    const auto take = [&](const request& r, pd::block_nr where, const pd::block* data, int error) {
      take_for_fold(stripe, r, where, data, error);
    };
    want_array(stripe);
    for (const auto& stray : s_.stray_bits.of({stripe, stripe + 1}))
      want({stray.block}, {request::stray_bits});
    read(take);
    for (const std::uint32_t i : s_.sources_at(stripe)) {
      if (!want_source(s_.sources[i], stripe)) lose_bits(s_.sources[i], stripe);
      if (wanted_.size() == most_requests) read(take);
    }
    read(take);
    lose_array();
    raise_anywhere();
    s_.ranges.raise(stripe, assumed_);
    finish_eras();
  }

  // The era array alone, in assumed(); known() is empty.
  void read_array(std::uint64_t stripe) {
    known_.clear();
    assumed_.assign(origin_blocks_of(stripe, s_.nr_blocks).size(), 0);
    sound_.fill(false);
    want_array(stripe);
    const bool has_strays = !requests_.empty() && requests_.back().what == request::stray_eras;
    read([&](const request& r, pd::block_nr where, const pd::block* data, int error) {
      if (r.what == request::stray_eras) return take_stray_eras(r.index, where, data);
      const auto eras = array_block(stripe, r.index, data, error);
      if (!eras) return;
      const auto to = part(assumed_, r.index);
      if (has_strays)
        raise(to, *eras);
      else
        std::copy_n(eras->begin(), std::min(eras->size(), to.size()), to.begin());
    });
    lose_array();
  }

  // Does the array have a newer era for a block than a source that lists it?
  bool is_out_of_order(std::uint64_t stripe) {
    read_array(stripe);
    bool found = false;
    const auto take = [&](const request& r, pd::block_nr, const pd::block* data, int error) {
      found = found || (r.source->bits.validate_block(stripe, data, error)
                            ? has_newer(*r.source)
                            : has_newer(*r.source, pd::array_values<pd::le64>(*data)));
    };
    for (const std::uint32_t i : s_.sources_at(stripe)) {
      if (!want_source(s_.sources[i], stripe)) found = found || has_newer(s_.sources[i]);
      if (wanted_.size() == most_requests) read(take);
    }
    read(take);
    return found;
  }

  std::span<const std::uint32_t> known() const noexcept { return known_; }
  std::span<const std::uint32_t> assumed() const noexcept { return assumed_; }
  // Origin blocks of the folded stripe whose era is not known.
  std::uint64_t nr_assumed() const noexcept {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < assumed_.size(); ++i) n += assumed_[i] != known_[i];
    return n;
  }

  // The bits of a writeset, those that have to be assumed among them. sources: all of its era.
  const stripe_bits& bits(std::uint32_t era, std::span<const bitset_source* const> sources,
                          std::uint64_t stripe) {
    bits_.fill(pd::le64(0));
    const auto take = [&](const request& r, pd::block_nr where, const pd::block* data, int error) {
      if (r.source ? !r.source->bits.validate_block(stripe, data, error)
                   : is_stray(data, where, sizeof(pd::le64)))
        merge(r.source ? pd::array_values<pd::le64>(*data) : pd::array_room<pd::le64>(*data));
      else if (r.source)
        set_all(*r.source, stripe);
    };
    for (const bitset_source* source : sources) {
      if (stripe < source->bits.known_end() && !want_source(*source, stripe))
        set_all(*source, stripe);
      if (wanted_.size() == most_requests) read(take);
    }
    if (era == s_.current_era.value) {
      merge(std::span(s_.bits_anywhere));
      for (const auto& stray : s_.stray_bits.of({stripe, stripe + 1}))
        want({stray.block}, {request::stray_bits});
    }
    read(take);
    for (const auto& e : s_.ranges.of_era(era)) set_in(stripe, {e.begin, e.end});
    return bits_;
  }

 private:
  struct request {
    enum kind { array, stray_eras, source_bits, stray_bits } what;
    std::uint64_t index = 0;                // of an array block, in the stripe
    const bitset_source* source = nullptr;  // of source_bits
  };

  static constexpr std::size_t most_requests = 4096;

  void want(pd::block_nr block, request r) {
    wanted_.push_back(block);
    requests_.push_back(r);
  }

  // Returns false if the source has lost its block of the stripe.
  bool want_source(const bitset_source& source, std::uint64_t stripe) {
    const auto block = source.bits.block(stripe);
    if (block) want(*block, {request::source_bits, 0, &source});
    return block.has_value();
  }

  // Reads what is wanted, as one batch. There may be millions of sources: they are read in several.
  template <class Take>
  void read(Take take) {
    queue_.read(wanted_, [&](std::size_t i, const pd::block* data, int error) {
      take(requests_[i], wanted_[i], data, error);
    });
    wanted_.clear();
    requests_.clear();
  }

  void want_array(std::uint64_t stripe) {
    const std::uint64_t first = stripe * array_blocks_per_stripe;
    const std::uint64_t end = std::min(first + array_blocks_per_stripe, s_.eras.nr_blocks());
    for (std::uint64_t i = first; i < end; ++i)
      if (const auto where = s_.eras.block(i)) want(*where, {request::array, i - first});
    if (first < end)
      for (const auto& stray : s_.stray_eras.of({first, end}))
        want({stray.block}, {request::stray_eras, stray.index - first});
  }

  void begin_eras(std::uint64_t stripe) {
    const std::size_t size = origin_blocks_of(stripe, s_.nr_blocks).size();
    known_.assign(size, 0);
    assumed_.assign(size, 0);
    sound_.fill(false);
  }

  // The part of known_ or assumed_ that an array block of the stripe covers.
  std::span<std::uint32_t> part(std::vector<std::uint32_t>& eras, std::uint64_t index) const {
    const std::size_t begin = std::min<std::size_t>(index * eras_per_array_block, eras.size());
    return std::span(eras).subspan(
        begin, std::min<std::size_t>(eras_per_array_block, eras.size() - begin));
  }

  void take_for_fold(std::uint64_t stripe, const request& r, pd::block_nr where,
                     const pd::block* data, int error) {
    switch (r.what) {
      case request::array:
        if (const auto eras = array_block(stripe, r.index, data, error))
          raise(part(known_, r.index), *eras);
        return;
      case request::stray_eras: return take_stray_eras(r.index, where, data);
      case request::stray_bits:
        if (is_stray(data, where, sizeof(pd::le64)))
          raise(std::span(assumed_), pd::array_room<pd::le64>(*data), s_.current_era);
        return;
      case request::source_bits: return take_bits(*r.source, stripe, data, error);
    }
  }

  // An era that cannot have been counts as the current one.
  void take_stray_eras(std::uint64_t index, pd::block_nr where, const pd::block* data) {
    if (!is_stray(data, where, sizeof(pd::le32))) return;
    const auto eras = part(assumed_, index);
    const auto values = pd::array_room<pd::le32>(*data);
    for (std::size_t i = 0; i < std::min(eras.size(), values.size()); ++i)
      eras[i] = std::max(eras[i], values[i] > s_.last_possible.value ? s_.current_era.value
                                                                     : std::uint32_t{values[i]});
  }

  void raise_anywhere() {
    if (!s_.bits_anywhere.empty())
      raise(std::span(assumed_), std::span(s_.bits_anywhere), s_.current_era);
    if (s_.eras_anywhere.empty()) return;
    for (std::size_t i = 0; i < assumed_.size(); ++i)
      assumed_[i] = std::max(assumed_[i], s_.eras_anywhere[i % eras_per_array_block]);
  }

  void lose_array() {
    for (std::size_t i = 0; i * eras_per_array_block < assumed_.size(); ++i)
      if (!sound_[i]) raise(part(assumed_, i), s_.current_era);
  }

  // The eras of a block of the array, by its place in the stripe, unless it is lost.
  std::optional<std::span<const pd::le32>> array_block(std::uint64_t stripe, std::uint64_t index,
                                                       const pd::block* data, int error) {
    if (s_.eras.validate_block(stripe * array_blocks_per_stripe + index, data, error)) return {};
    const auto eras = pd::array_values<pd::le32>(*data);
    const bool is_checked = !s_.has_losses.empty() && !s_.has_losses[stripe];
    if (!is_checked && newest_era(eras) > s_.last_possible) return {};
    sound_[index] = true;
    return eras;
  }

  void take_bits(const bitset_source& source, std::uint64_t stripe, const pd::block* data,
                 int error) {
    if (source.bits.validate_block(stripe, data, error)) return lose_bits(source, stripe);
    raise(std::span(source.era_is_assumed ? assumed_ : known_), pd::array_values<pd::le64>(*data),
          {source.era});
  }

  void lose_bits(const bitset_source& source, std::uint64_t stripe) {
    const std::uint64_t covered = origin_blocks_of(stripe, source.nr_bits).size();
    raise(std::span(assumed_).first(std::min<std::size_t>(covered, assumed_.size())), {source.era});
  }

  bool has_newer(const bitset_source& source) const {
    return std::any_of(assumed_.begin(), assumed_.end(),
                       [&](std::uint32_t era) { return era > source.era; });
  }
  bool has_newer(const bitset_source& source, std::span<const pd::le64> words) const {
    bool found = false;
    for_each_set_bit(words, [&](std::size_t i) {
      found = found || (i < assumed_.size() && assumed_[i] > source.era);
    });
    return found;
  }

  void finish_eras() {
    for (std::size_t i = 0; i < assumed_.size(); ++i)
      assumed_[i] = std::max(assumed_[i], known_[i]);
  }

  template <class Word>
  void merge(std::span<const Word> words) {
    for (std::size_t w = 0; w < words.size(); ++w) bits_[w] = bits_[w] | words[w];
  }

  void set_all(const bitset_source& source, std::uint64_t stripe) {
    set_in(stripe, {0, std::min(source.nr_bits, s_.nr_blocks)});
  }

  void set_in(std::uint64_t stripe, pd::range blocks) {
    const std::uint64_t first = stripe * bits_per_bitset_block;
    const pd::range part = pd::intersection(blocks, {first, first + bits_per_bitset_block});
    if (!part.empty()) set(bits_, {part.begin - first, part.end - first});
  }

  const salvaged& s_;
  pd::read_queue queue_;
  stripe_bits bits_;
  std::vector<std::uint32_t> known_, assumed_;
  std::array<bool, array_blocks_per_stripe> sound_{};
  std::vector<pd::block_nr> wanted_;
  std::vector<request> requests_;
};

namespace {

// Makes something of each stripe in parallel, so many in one go, and uses what is made in order.
template <class Make, class Use>
void each_stripe(const salvaged& s, const pd::block_device& device, std::uint64_t stripes,
                 std::uint64_t at_once, Make make, Use use) {
  using made = decltype(make(std::declval<salvaged_reader&>(), stripes));
  const auto new_worker = [&] {
    return [&, reader = salvaged_reader(s, device)](std::uint64_t item) mutable {
      std::vector<made> all;
      const std::uint64_t end = std::min((item + 1) * at_once, stripes);
      for (std::uint64_t i = item * at_once; i < end; ++i) all.push_back(make(reader, i));
      return all;
    };
  };
  pd::in_order(device.nr_workers(), (stripes + at_once - 1) / at_once, new_worker,
               [&](std::size_t, const std::vector<made>& all) {
                 for (const made& one : all) use(one);
               });
}

constexpr std::uint64_t bytes_per_bitset_stripe = pd::block_size,
                        bytes_per_stripe = array_blocks_per_stripe * pd::block_size;

// A writeset of the document.
struct salvaged_writeset {
  std::uint32_t era = 0, nr_bits = 0;
  std::vector<const bitset_source*> sources;
  std::uint64_t known_stripes = 0;  // in the others, no block of a bitset is known
};

// Calls use(salvaged_writeset) for each, ascending by era.
template <class Use>
void each_writeset(const salvaged& s, Use use) {
  const auto& ranges = s.ranges.all();
  const std::uint32_t current = s.current_era.value, none = 0xffffffff;
  std::uint64_t stray_stripes =
      s.bits_anywhere.empty() ? s.stray_bits.end() : stripes_for(s.nr_blocks);
  auto source = s.sources.begin();
  for (auto range = ranges.begin();;) {
    salvaged_writeset ws;
    const std::uint32_t of_sources = source == s.sources.end() ? none : source->era;
    const std::uint32_t of_ranges = range == ranges.end() ? none : range->era;
    ws.era = std::min({of_sources, of_ranges, stray_stripes > 0 ? current : none});
    if (ws.era == none) return;
    for (; source != s.sources.end() && source->era == ws.era; ++source) {
      ws.sources.push_back(&*source);
      ws.nr_bits = std::max(ws.nr_bits, source->nr_bits);
      ws.known_stripes = std::max(ws.known_stripes, source->bits.known_end());
    }
    for (; range != ranges.end() && range->era == ws.era; ++range)
      ws.nr_bits = std::max(ws.nr_bits, range->end);
    if (ws.era == current && stray_stripes > 0) {
      ws.nr_bits = std::max(ws.nr_bits, s.nr_blocks);
      ws.known_stripes = std::max(ws.known_stripes, std::exchange(stray_stripes, 0));
    }
    ws.known_stripes = std::min(ws.known_stripes, stripes_for(ws.nr_bits));
    use(ws);
  }
}

// Stripes in which an era may have to be assumed, ascending.
std::vector<std::uint64_t> stripes_in_doubt(const salvaged& s) {
  const std::uint64_t stripes = stripes_for(s.nr_blocks);
  const bool in_all = s.has_losses.empty() || !s.bits_anywhere.empty() || !s.eras_anywhere.empty();
  // By stripe: how many more reasons for doubt begin there than end.
  std::vector<std::int64_t> begins(stripes + 1);
  const auto doubt = [&](std::uint64_t begin, std::uint64_t end) {
    ++begins[std::min(begin, stripes)];
    --begins[std::min(end, stripes)];
  };
  for (const auto& e : s.ranges.all()) doubt(e.begin / bits_per_bitset_block, stripes_for(e.end));
  for (const bitset_source& source : s.sources)
    if (source.era_is_assumed) doubt(0, source.bits.known_end());
  for (const auto& stray : s.stray_bits.of({0, max_origin_blocks}))
    doubt(stray.index, stray.index + std::uint64_t{1});
  for (const auto& stray : s.stray_eras.of({0, max_origin_blocks}))
    doubt(stray.index / array_blocks_per_stripe, stray.index / array_blocks_per_stripe + 1);
  std::vector<std::uint64_t> found;
  std::int64_t reasons = in_all ? 1 : 0;
  for (std::uint64_t stripe = 0; stripe < stripes; ++stripe) {
    reasons += begins[stripe];
    if (reasons > 0 || s.has_losses[stripe]) found.push_back(stripe);
  }
  return found;
}

class document_writer {
 public:
  document_writer(const salvaged& s, const pd::block_device& device, metadata_sink& to,
                  const std::function<void(std::uint64_t)>& step)
      : s_(s), device_(device), to_(to), step_(step), reader_(s, device) {}

  std::optional<std::uint64_t> write(bool folded) {
    to_.begin_superblock({s_.block_size, s_.nr_blocks, s_.current_era, s_.uuid});
    if (!folded) each_writeset(s_, [this](const salvaged_writeset& ws) { write_writeset(ws); });
    to_.begin_era_array();
    std::uint64_t assumed = 0;
    const auto make = [&](salvaged_reader& reader, std::uint64_t stripe) {
      folded ? reader.fold(stripe) : reader.read_array(stripe);
      return std::pair(to_.encode_eras(static_cast<std::uint32_t>(stripe * bits_per_bitset_block),
                                       reader.assumed()),
                       folded ? reader.nr_assumed() : 0);
    };
    each_stripe(s_, device_, stripes_for(s_.nr_blocks), 1, make, [&](const auto& made) {
      to_.append(made.first);
      assumed += made.second;
      step_(done_ += bytes_per_stripe);
    });
    to_.end_era_array();
    to_.end_superblock();
    return folded ? std::optional(assumed) : std::nullopt;
  }

 private:
  void write_writeset(const salvaged_writeset& ws) {
    to_.begin_writeset({ws.era}, ws.nr_bits);
    const auto make = [&](salvaged_reader& reader, std::uint64_t stripe) {
      return to_.encode_bits(origin_blocks_of(stripe, ws.nr_bits),
                             reader.bits(ws.era, ws.sources, stripe));
    };
    const auto use = [&](const encoded_stripe& made) {
      to_.append(made);
      step_(done_ += bytes_per_bitset_stripe);
    };
    // Threads are not worth their while for less.
    constexpr std::uint64_t few = 8;
    if (ws.known_stripes > few)
      each_stripe(s_, device_, ws.known_stripes, 4, make, use);
    else
      for (std::uint64_t stripe = 0; stripe < ws.known_stripes; ++stripe)
        use(make(reader_, stripe));
    write_rest(ws);
    to_.end_writeset();
  }

  // The stripes of which no block is known: what is assumed of them, and nothing else.
  void write_rest(const salvaged_writeset& ws) {
    std::uint64_t at = ws.known_stripes * bits_per_bitset_block;
    const auto put = [&](std::uint64_t end, bool value) {
      if (at < end) to_.bits({at, end}, value);
      at = std::max(at, end);
    };
    for (const auto& e : s_.ranges.of_era(ws.era)) {
      if (e.end <= at) continue;
      put(e.begin, false);
      put(e.end, true);
    }
    put(ws.nr_bits, false);
    step_(done_ += (stripes_for(ws.nr_bits) - ws.known_stripes) * bytes_per_bitset_stripe);
  }

  const salvaged& s_;
  const pd::block_device& device_;
  metadata_sink& to_;
  const std::function<void(std::uint64_t)>& step_;
  salvaged_reader reader_;
  std::uint64_t done_ = 0;
};

}  // namespace

salvaged_folder::salvaged_folder(const salvaged& s, const pd::block_device& device)
    : reader_(std::make_unique<salvaged_reader>(s, device)) {}
salvaged_folder::salvaged_folder(salvaged_folder&&) noexcept = default;
salvaged_folder::~salvaged_folder() = default;

void salvaged_folder::fold(std::uint64_t stripe) { reader_->fold(stripe); }
std::span<const std::uint32_t> salvaged_folder::known() const noexcept { return reader_->known(); }
std::span<const std::uint32_t> salvaged_folder::assumed() const noexcept {
  return reader_->assumed();
}

bool is_out_of_order(const salvaged& s, const pd::block_device& device,
                     const std::vector<era_nr>& newest) {
  const auto& ranges = s.ranges.all();
  std::vector<std::uint64_t> suspects;
  for (std::uint64_t stripe = 0; stripe < newest.size(); ++stripe) {
    // Ranges are large: to compare them block by block is not worth it.
    if (!ranges.empty() && newest[stripe].value > ranges.front().era) return true;
    if (!s.sources.empty() && newest[stripe].value > s.sources.front().era)
      suspects.push_back(stripe);
  }
  bool found = false;
  const auto make = [&](salvaged_reader& reader, std::uint64_t i) {
    return reader.is_out_of_order(suspects[i]);
  };
  each_stripe(s, device, suspects.size(), 1, make, [&](bool here) { found = found || here; });
  return found;
}

std::uint64_t document_bytes(const salvaged& s, bool logical) {
  std::uint64_t bytes = stripes_for(s.nr_blocks) * bytes_per_stripe;
  if (!logical && !s.is_folded)
    each_writeset(s, [&](const salvaged_writeset& ws) {
      bytes += stripes_for(ws.nr_bits) * bytes_per_bitset_stripe;
    });
  return bytes;
}

std::optional<std::uint64_t> write_document(const salvaged& s, const pd::block_device& device,
                                            bool logical, metadata_sink& to,
                                            const std::function<void(std::uint64_t)>& step) {
  return document_writer(s, device, to, step).write(logical || s.is_folded);
}

std::uint64_t count_assumed(const salvaged& s, const pd::block_device& device) {
  const std::vector<std::uint64_t> suspects = stripes_in_doubt(s);
  std::uint64_t assumed = 0;
  const auto make = [&](salvaged_reader& reader, std::uint64_t i) {
    reader.fold(suspects[i]);
    return reader.nr_assumed();
  };
  each_stripe(s, device, suspects.size(), 1, make, [&](std::uint64_t here) { assumed += here; });
  return assumed;
}

}  // namespace era
