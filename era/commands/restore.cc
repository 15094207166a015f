// SPDX-License-Identifier: GPL-3.0-or-later
// era_restore: makes metadata of XML.
#include "era/metadata/metadata_builder.h"

#include <algorithm>
#include <optional>

#include "era/commands/building.h"
#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/progress.h"
#include "era/xml/source.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

struct options {
  std::string input, output;
  bool quiet = false;
};

// How far the restore is. A line of compact XML may stand for gigabytes of metadata, and what is
// not read yet is unknown: it is taken to be like what was read, or what is known of it, if that is
// more.
class restore_progress {
 public:
  restore_progress(const command_line& line, const xml::input_file& input, bool quiet)
      : input_(input),
        shown_(line.name(), std::nullopt, quiet ? progress::sink() : progress_on_terminal()) {}

  std::uint64_t handed = 0,
                consumed = 0;  // bytes of XML, unpacked: given to the parser, and parsed
  progress& shown() noexcept { return shown_; }

  void update(const metadata_builder::work& work) {
    if (const auto bytes = input_.bytes(); bytes && *bytes > 0 && handed > 0) {
      const double parsed = static_cast<double>(input_.bytes_read()) / static_cast<double>(*bytes) *
                            static_cast<double>(consumed) / static_cast<double>(handed);
      const double rest = parsed > 0 ? static_cast<double>(work.done) * (1 - parsed) / parsed : 0;
      shown_.set_total(work.done +
                       std::max(work.known_rest, static_cast<std::uint64_t>(std::max(rest, 0.0))));
    }
    shown_.update(work.done);
  }

 private:
  const xml::input_file& input_;
  progress shown_;
};

int restore(const command_line& line, const options& chosen) {
  const interruption signals;
  xml::input_file input(chosen.input, [&](int fd) { signals.wait_for(fd); });
  if (input.overlaps(chosen.output))
    throw pd::device_error(
        fmt::format("{}: is the XML itself; name another output", chosen.output));
  restore_progress shown(line, input, chosen.quiet);
  const metadata_builder* builder = nullptr;
  const auto on_progress = [&] {
    signals.check();
    if (builder) shown.update(builder->progress());
  };

  return build_metadata(line, chosen.output, shown.shown(), on_progress, [&](metadata_builder& to) {
    builder = &to;
    const auto source = [&](char* buffer, std::size_t size) {
      on_progress();
      const std::size_t got = input.read(buffer, size);
      shown.handed += got;
      return got;
    };
    xml::read(source, input.name(), to, {.consumed = &shown.consumed});
    try {
      to.commit();
    } catch (const pd::invalid_input& e) {
      throw pd::invalid_input(fmt::format("{}: {}", input.name(), e.what()));
    }
  });
}

}  // namespace

int restore_command(int argc, char** argv) {
  command_line line("era_restore", "Makes dm-era metadata of XML that era_dump has printed.",
                    "[options] -i FILE -o {device|file}");
  options chosen;
  auto& o = line.options();
  o.require(o.add_text("-i,--input", chosen.input, "FILE", "The XML; - for standard input"));
  o.require(o.add_text("-o,--output", chosen.output, "{device|file}",
                       "The metadata device, or an existing file"));
  o.add_flag("-q,--quiet", chosen.quiet, "Show no progress");
  line.add_io_engine();
  return line.run(argc, argv, [&] { return restore(line, chosen); });
}

}  // namespace era
