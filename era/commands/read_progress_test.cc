// SPDX-License-Identifier: GPL-3.0-or-later
// Nothing is shown unless somebody looks and wants to. progress_test.cc has the line itself.
#include "era/commands/read_progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"
#include "persistent-data/io/read_queue.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

void read_all(const pd::block_device& device) {
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  for (std::uint64_t b = 0; b < device.nr_blocks(); ++b) {
    const pd::block_nr where{b};
    queue.read(std::span(&where, 1), [](std::size_t, const pd::block*, int) {});
  }
}

void read_with_progress(const read_progress_options& options) {
  const test::built_metadata built(test::small_metadata());
  command_line line("era_test", "Tests.", "");
  pd::block_device device(built.path(), pd::access::shared);
  read_progress shown(line, device, options);
  read_all(device);
  shown.finish();
  read_all(device);
  shown.finish();
}

TEST(ReadProgress, IsNotShownWithoutATerminal) {
  ::testing::internal::CaptureStderr();
  read_with_progress({});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(ReadProgress, IsNotShownOnATerminalIfItIsQuiet) {
  const pd::unique_fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_GE(terminal.get(), 0);
  ASSERT_EQ(::grantpt(terminal.get()), 0);
  ASSERT_EQ(::unlockpt(terminal.get()), 0);
  const pd::unique_fd inner(::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_GE(inner.get(), 0);
  const pd::unique_fd saved(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  ASSERT_GE(::dup2(inner.get(), STDERR_FILENO), 0);
  for (const bool known_total : {false, true}) read_with_progress({true, known_total, false});
  ::dup2(saved.get(), STDERR_FILENO);
  pollfd ready{terminal.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ready, 1, 0), 0) << "something was shown";
}

}  // namespace
}  // namespace era
