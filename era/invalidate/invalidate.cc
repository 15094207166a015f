// SPDX-License-Identifier: GPL-3.0-or-later
// A stripe at a time: fold, filter, add what is in doubt.
#include "era/invalidate/invalidate.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "era/check/check.h"
#include "era/view/stripe.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct listed_stripe {
  piece_of_runs runs;
  listed_blocks counts;
  std::vector<finding> findings;
};

class stripe_lister {
 public:
  stripe_lister(const metadata& m, const pd::block_device& device, const era_window& window,
                const doubts& in_doubt, const run_printer& print)
      : metadata_(m), window_(window), in_doubt_(in_doubt), print_(print), folder_(m, device) {}

  listed_stripe list(std::uint64_t stripe) {
    listed_stripe result;
    const pd::range blocks = stripe_blocks(metadata_, stripe);
    const auto eras = folder_.fold(stripe, result.findings);
    chosen_.resize(eras.size());
    // Eras below begin wrap around: one comparison for both ends.
    const std::uint64_t begin = window_.begin, size = window_.size();
    for (std::size_t i = 0; i < eras.size(); ++i) chosen_[i] = eras[i] - begin < size;
    add_doubts(blocks, result);
    collect(blocks.begin, result);
    return result;
  }

 private:
  void add_doubts(pd::range blocks, listed_stripe& result) {
    const auto add = [&](pd::range doubted) {
      for (std::uint64_t b = doubted.begin; b < doubted.end; ++b) {
        auto& chosen = chosen_[b - blocks.begin];
        result.counts.in_doubt += chosen ? 0 : 1;
        chosen = true;
      }
    };
    in_doubt_.within(blocks, add);
    for (const finding& f : result.findings)
      add(pd::intersection(doubted_blocks(f, window_, metadata_.sb.nr_blocks), blocks));
  }

  void collect(std::uint64_t first, listed_stripe& result) {
    run_collector runs(result.runs, print_);
    const auto end = chosen_.end();
    for (auto at = chosen_.begin(); (at = std::find(at, end, 1)) != end;) {
      const auto stop = std::find(at, end, 0);
      const auto offset = [&](auto i) {
        return first + static_cast<std::uint64_t>(i - chosen_.begin());
      };
      runs.add({{offset(at), offset(stop)}, 1});
      result.counts.listed += static_cast<std::uint64_t>(stop - at);
      at = stop;
    }
  }

  const metadata& metadata_;
  const era_window& window_;
  const doubts& in_doubt_;
  const run_printer& print_;
  stripe_folder folder_;
  std::vector<unsigned char> chosen_;
};

}  // namespace

listed_blocks list_blocks(const metadata& m, const pd::block_device& device,
                          const era_window& window, const doubts& in_doubt,
                          const run_printer& print,
                          const std::function<void(std::string_view)>& out,
                          const finding_sink& sink) {
  listed_blocks total;
  text_buffer text;
  run_joiner joiner(print);
  const auto new_worker = [&] {
    return [lister = stripe_lister(m, device, window, in_doubt, print)](
               std::size_t stripe) mutable { return lister.list(stripe); };
  };
  const auto use = [&](std::size_t, listed_stripe stripe) {
    for (finding& f : stripe.findings) sink(std::move(f));
    total.listed += stripe.counts.listed;
    total.in_doubt += stripe.counts.in_doubt;
    joiner.add(stripe.runs, text);
    constexpr std::size_t large = 1 << 20;
    if (text.size() < large) return;
    out(text.view());
    text.clear();
  };
  pd::in_order(device.nr_workers(), nr_stripes(m), new_worker, use);
  joiner.finish(text);
  out(text.view());
  return total;
}

changed_blocks::changed_blocks(const pd::block_device& device, source from,
                               const era_window& window, finding_sink sink)
    : device_(device), window_(window), sink_(std::move(sink)) {
  check_metadata(device, {from, false, false}, [this](finding f) { note(std::move(f)); });
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  std::vector<finding> again;
  metadata_ = open_metadata(queue, device, from, [&](finding f) { again.push_back(std::move(f)); });
  // What is met only the second time, such as a block that now cannot be read, counts as well.
  if (found_.empty())
    for (finding& f : again) note(std::move(f));
  if (!metadata_ || size_doubtful_) {
    metadata_.reset();
    return;
  }
  const std::uint32_t nr_blocks = metadata_->sb.nr_blocks;
  for (const auto& findings : {found_, again})
    for (const finding& f : findings) in_doubt_.add(doubted_blocks(f, window_, nr_blocks));
  in_doubt_.settle();
}

void changed_blocks::note(finding f) {
  if (!f.fatal() || f.where.what == part::space_map) return;
  damaged_ = true;
  size_doubtful_ = size_doubtful_ || is_size_doubtful(f);
  found_.push_back(f);
  sink_(std::move(f));
}

std::optional<listed_blocks> changed_blocks::list(
    const run_printer& print, const std::function<void(std::string_view)>& out) {
  const pd::range all{0, metadata_->sb.nr_blocks};
  const bool first_attempt = !all_doubtful_;
  const finding_sink note_content = [&](finding f) {
    all_doubtful_ = all_doubtful_ || doubted_blocks(f, window_, metadata_->sb.nr_blocks) == all;
    if (first_attempt) note(std::move(f));
  };
  const listed_blocks listed =
      list_blocks(*metadata_, device_, window_, in_doubt_, print, out, note_content);
  if (size_doubtful_) {
    metadata_.reset();
    return {};
  }
  if (!first_attempt || !all_doubtful_) return listed;
  in_doubt_.add(all);
  in_doubt_.settle();
  return {};
}

}  // namespace era
