// SPDX-License-Identifier: GPL-3.0-or-later
// Copies metadata to a sink: stripes are read and encoded in parallel, and appended in order.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "era/metadata/stripe.h"
#include "era/xml/metadata_sink.h"
#include "persistent-data/io/block_device.h"

namespace era {

enum class copy_form {
  as_it_is,  // writesets and the era array, unless the metadata must be folded
  logical    // without writesets: all are folded into the era array
};

struct copy_result {
  bool is_complete = false;
  // Origin blocks whose era had to be assumed, if the copy is folded; else it was not counted.
  std::optional<std::uint64_t> assumed;
};

struct copy_options {
  copy_form form = copy_form::as_it_is;
  loss_policy losses = loss_policy::refuse;
  // Called with the bytes of metadata that are done; what it throws ends the copying.
  std::function<void(std::uint64_t done)> on_progress = [](std::uint64_t) {};
};

// If losses are refused, ends at the first damage: hands it to the finding_sink, with the sink's
// document unfinished. The metadata's own maps must then be without damage. Throws what the sink
// throws, and device_error if a metadata snapshot was dropped meanwhile.
[[nodiscard]] copy_result copy_metadata(const metadata&, const pd::block_device&, metadata_sink&,
                                        const finding_sink&, const copy_options& = {});

// The bytes of metadata that are done at the end, for the progress.
std::uint64_t copied_bytes(const metadata&, copy_form);

}  // namespace era
