// SPDX-License-Identifier: GPL-3.0-or-later
// era_restore: makes metadata of XML.
#include "era/restore/restore.h"

#include <optional>

#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/progress.h"
#include "era/xml/source.h"
#include "persistent-data/io/output_device.h"

namespace era {
namespace {

struct options {
  std::string input, output;
  bool quiet = false;
};

std::string in_words(const std::string& output, remains left) {
  switch (left) {
    case remains::as_before: return "";
    case remains::perhaps_wiped:
      return fmt::format(
          "{}: is as it was, or its superblock is wiped; nothing else of it was changed", output);
    case remains::unformatted:
      return fmt::format(
          "{}: is wiped and holds no metadata: it looks unformatted until a restore succeeds",
          output);
    case remains::perhaps_complete:
      return fmt::format(
          "{}: cannot be written any more: it looks unformatted, or holds the whole new metadata; "
          "do not use it before a restore has succeeded",
          output);
  }
  return "";
}

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

  std::optional<pd::output_device> device;
  restorer builder(
      [&](std::uint64_t suggested_blocks) {
        device.emplace(chosen.output, suggested_blocks, line.engine());
        return output_target{device->path(), device->is_block_device(), device->nr_blocks(),
                             [&] { return device->make_queue(); }};
      },
      step);
  try {
    const auto source = [&](char* buffer, std::size_t size) {
      step();
      return input.read(buffer, size);
    };
    xml::read(source, input.name(), builder);
    builder.commit();
    return exit_success;
  } catch (const std::exception& e) {
    shown.clear();
    line.say(e.what());
    if (const std::string left = in_words(chosen.output, builder.abandon()); !left.empty())
      line.say(left);
    return exit_failure;
  }
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
