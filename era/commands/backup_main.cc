// SPDX-License-Identifier: GPL-3.0-or-later
// era_backup: a program of its own, because the libraries that it needs take longer to load than
// the other commands take for small metadata.
#include "era/commands/command_line.h"
#include "era/commands/startup.h"

int main(int argc, char** argv) {
  era::start_program();
  return era::backup_command(argc, argv);
}
