// SPDX-License-Identifier: GPL-3.0-or-later
// Its life; what it does with an image is in nbd_target_test.cc, and what a kill leaves in
// functional-tests/backup_images.bats.
#include "era/backup/qemu_nbd.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>

#include "era/testing/qemu_images.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

// Empty if the other end is closed.
std::string received(const persistent_data::unique_fd& fd) {
  char greeting[8];
  const ssize_t got = ::recv(fd.get(), greeting, sizeof greeting, MSG_WAITALL);
  return {greeting, got > 0 ? static_cast<std::size_t>(got) : 0};
}

TEST(QemuNbd, ServesItsClientAndEndsWithIt) {
  if (const auto why = test::why_no_images()) GTEST_SKIP() << *why;
  const persistent_data::test::scratch_directory directory;
  const std::string disk = directory.random_file("disk", 65536, 1);
  {
    qemu_nbd server({"qemu-nbd", "--format=raw", "--", disk});
    const persistent_data::unique_fd client(server.connect());
    EXPECT_EQ(received(client), "NBDMAGIC");
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(QemuNbd, ThatIsNotThereBreaksTheConnection) {
  qemu_nbd server({"no-such-qemu-nbd"});
  const persistent_data::unique_fd client(server.connect());
  EXPECT_EQ(received(client), "");
}

}  // namespace
}  // namespace era
