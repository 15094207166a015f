// SPDX-License-Identifier: GPL-3.0-or-later
// Calls the library as the commands do, on files in this process, and turns findings and exceptions
// into text.
#include "era/testing/round_trip.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "era/check/check.h"
#include "era/check/sound_metadata.h"
#include "era/commands/finding_text.h"
#include "era/metadata/copy_metadata.h"
#include "era/metadata/metadata_builder.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/output_device.h"

namespace era::test {
namespace {

metadata_builder::open_target opener(const std::string& path,
                                     std::optional<pd::output_device>& device) {
  return [&path, &device](std::uint64_t suggested) {
    device.emplace(path, suggested);
    return output_target{
        path, false, device->nr_blocks(), [&] { return device->make_queue(); },
        [&] { return std::make_unique<pd::block_device>(path, pd::access::shared); }};
  };
}

}  // namespace

bool dump_metadata(const metadata& m, const pd::block_device& device, const dump_options& options,
                   const text_sink& out, const finding_sink& sink) {
  xml_writer writer(options.compact ? xml_form::compact : xml_form::full, out);
  const copy_form form = options.logical ? copy_form::logical : copy_form::as_it_is;
  return copy_metadata(m, device, writer, sink, {.form = form}).is_complete;
}

std::string dump_of(const std::string& path, dump_options options, source from) {
  const pd::block_device device(path, pd::access::shared);
  std::string text, damage;
  const finding_sink sink = [&](const finding& f) { damage += in_words(path, f) + '\n'; };
  const auto m = map_sound_metadata(device, from, sink);
  if (m)
    dump_metadata(
        *m, device, options, [&](std::string_view piece) { text += piece; }, sink);
  return damage.empty() ? text : damage;
}

std::string findings_in(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  std::string text;
  check_metadata(device, {}, [&](const finding& f) { text += in_words(path, f) + '\n'; });
  return text;
}

std::string repair_to(const std::string& from, const std::string& to, const repair_options& given,
                      const repair_report& report) {
  std::optional<pd::output_device> output;
  metadata_builder builder(opener(to, output), [] {});
  try {
    const pd::block_device device(from, pd::access::shared);
    const metadata saved = salvage_metadata(device, given, report, [] {});
    const copy_result copied = copy_metadata(saved, device, builder, ignore_findings,
                                             {.losses = loss_policy::assume_written});
    builder.commit();
    return copied.is_complete ? "" : "not all was copied";
  } catch (const pd::damaged_metadata&) {
    throw;
  } catch (const std::exception& e) {
    builder.abandon();
    return e.what();
  }
}

std::string restore_to(const std::string& path, const std::string& xml, std::size_t piece) {
  std::optional<pd::output_device> device;
  metadata_builder builder(opener(path, device), [] {});
  std::size_t at = 0;
  const auto read = [&](char* to, std::size_t size) {
    const std::size_t now = std::min({size, piece, xml.size() - at});
    std::copy_n(xml.data() + at, now, to);
    at += now;
    return now;
  };
  try {
    xml::read(read, "t.xml", builder);
    builder.commit();
    return "";
  } catch (const std::exception& e) {
    builder.abandon();
    return e.what();
  }
}

}  // namespace era::test
