// SPDX-License-Identifier: GPL-3.0-or-later
// era_restore: makes metadata of XML.
#include "era/restore/restore.h"

#include "era/commands/building.h"
#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/progress.h"
#include "era/xml/source.h"

namespace era {
namespace {

struct options {
  std::string input, output;
  bool quiet = false;
};

int restore(const command_line& line, const options& chosen) {
  const interruption signals;
  xml::input_file input(chosen.input, [&](int fd) { signals.wait_for(fd); });
  if (input.is_same_file(chosen.output))
    throw pd::device_error(
        fmt::format("{}: is the XML itself; name another output", chosen.output));
  progress shown(line.name(), input.bytes(),
                 chosen.quiet ? progress::sink() : progress_on_terminal());
  const auto step = [&] {
    signals.check();
    shown.update(input.bytes_read());
  };

  return build_metadata(line, chosen.output, shown, step, [&](restorer& builder) {
    const auto source = [&](char* buffer, std::size_t size) {
      step();
      return input.read(buffer, size);
    };
    xml::read(source, input.name(), builder);
    builder.commit();
  });
}

}  // namespace

int restore_command(int argc, char** argv) {
  command_line line("era_restore", "Makes dm-era metadata of XML that era_dump has printed.",
                    "[options] -i FILE -o {device|file}");
  options chosen;
  line.app()
      .add_option("-i,--input", chosen.input, "The XML; - for standard input")
      ->option_text("FILE")
      ->required();
  line.app()
      .add_option("-o,--output", chosen.output, "The metadata device, or an existing file")
      ->option_text("{device|file}")
      ->required();
  line.app().add_flag("-q,--quiet", chosen.quiet, "Show no progress");
  line.add_io_engine();
  return line.run(argc, argv, [&] { return restore(line, chosen); });
}

}  // namespace era
