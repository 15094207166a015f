// SPDX-License-Identifier: GPL-3.0-or-later
// Images and exports as targets, judged by qemu's own tools.
#include "era/backup/nbd_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "era/backup/qcow2_image.h"
#include "era/backup/run_program.h"
#include "era/testing/error_of.h"
#include "era/testing/qemu_images.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using ::testing::HasSubstr;

constexpr std::size_t block = 65536;

class NbdTarget : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::why_no_images()) GTEST_SKIP() << *why;
  }

  std::string make_image(const std::string& name, std::uint64_t bytes, std::uint32_t sectors,
                         std::optional<backing_image> backing = {}) {
    const std::string path = directory_ / name;
    create_qcow2(path,
                 {.bytes = bytes, .block_size = sectors, .backing = backing ? &*backing : nullptr});
    return path;
  }
  static std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
  }
  static void write(backup_target& target, std::uint64_t offset, const std::string& data,
                    bool is_zero = false) {
    target.start({3, offset, bytes_of(data), is_zero});
    EXPECT_EQ(target.wait(), 3u);
  }
  std::string uri_of(const std::string& socket) const {
    return "nbd+unix:///?socket=" + (directory_ / socket);
  }
  std::string data_of(const std::string& image) const {
    return test::data_of_image(image, directory_ / "converted");
  }

  persistent_data::test::scratch_directory directory_;
};

TEST_F(NbdTarget, FillsAnImage) {
  const std::string path = make_image("image", 20 * block + 512, 128);
  {
    const auto target = open_qcow2({.path = path, .name = "NAME", .zeros_from = 0});
    EXPECT_EQ(target->name(), "NAME");
    EXPECT_EQ(target->size(), 20 * block + 512);
    EXPECT_EQ(target->held_bytes(), 0u);
    EXPECT_TRUE(target->reads_as_zeros(0, 20 * block));
    write(*target, 3 * block, std::string(block, 'x'));
    write(*target, 20 * block, std::string(512, 'y'));
    target->flush();
    std::string back(512, '\0');
    target->read(20 * block, std::as_writable_bytes(std::span(back)));
    EXPECT_EQ(back, std::string(512, 'y'));
  }
  check_qcow2(path);
  std::string wanted(20 * block + 512, '\0');
  wanted.replace(3 * block, block, std::string(block, 'x'));
  wanted.replace(20 * block, 512, std::string(512, 'y'));
  EXPECT_TRUE(data_of(path) == wanted);
}

// Chains of overlays over raw and qcow2 images, of a device that grows: after each night, exactly
// the blocks that were written are allocated, and the image holds what the model does.
TEST_F(NbdTarget, KeepsChains) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (const std::uint32_t sectors : {128u, 192u, 8u, 2048u}) {
    const std::size_t block_bytes = sectors * std::size_t{512};
    std::string model;
    backing_image below{directory_.random_file("full", 30 * block_bytes, seed), image_format::raw};
    model = persistent_data::test::content_of(below.path);
    for (int night = 0; night < 4; ++night) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", night " << night);
      const std::uint64_t held = model.size();
      if (night == 2) model.resize(model.size() + 5 * block_bytes);
      const std::string path =
          make_image(fmt::format("{}-{}", sectors, night), model.size(), sectors, below);
      std::vector<bool> written(model.size() / block_bytes);
      {
        const auto target =
            open_qcow2({.path = path, .name = path, .held_bytes = held, .zeros_from = held});
        EXPECT_EQ(target->held_bytes(), held);
        EXPECT_FALSE(target->reads_as_zeros(held - block_bytes, block_bytes));
        EXPECT_EQ(target->reads_as_zeros(held, block_bytes), true);
        for (int i = 0; i < 6; ++i) {
          const std::size_t at = random() % written.size();
          written[at] = true;
          const std::string data(block_bytes, static_cast<char>('a' + random() % 26));
          model.replace(at * block_bytes, block_bytes, data);
          write(*target, at * block_bytes, data);
        }
        // Zeros over older data.
        write(*target, 0, std::string(block_bytes, '\0'), true);
        model.replace(0, block_bytes, std::string(block_bytes, '\0'));
        target->flush();
      }
      check_qcow2(path);
      written[0] = false;  // allocated as zeros
      EXPECT_EQ(test::allocated_bytes(path),
                static_cast<std::uint64_t>(std::count(written.begin(), written.end(), true)) *
                    block_bytes);
      EXPECT_TRUE(data_of(path) == model);
      below = {path, image_format::qcow2};
    }
    fs::remove(directory_ / "full");
  }
}

TEST_F(NbdTarget, NamesAnErrorOfTheImage) {
  const std::string path = make_image("image", block, 128);
  const auto target = open_qcow2({.path = path, .name = "NAME", .zeros_from = 0});
  const std::string data(block, 'x');
  const std::string error = error_of([&] {
    target->start({1, 5 * block, bytes_of(data), false});
    target->wait();
  });
  EXPECT_THAT(error, HasSubstr("NAME: cannot write at byte 327680"));
}

TEST_F(NbdTarget, RefusesWhatIsNoImage) {
  EXPECT_THAT(error_of([&] { open_qcow2({.path = directory_ / "none", .name = "NAME"}); }),
              HasSubstr("NAME: cannot be opened by qemu-nbd"));
}

// A server that this test starts, on a socket in its directory.
class server {
 public:
  server(const std::string& socket, std::vector<std::string> arguments)
      : server(socket, "--format=raw", std::move(arguments)) {}
  server(const std::string& socket, const std::string& format, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"qemu-nbd", "--persistent", "--fork", "-k", socket,
                                         "--pid-file=" + socket + ".pid", format});
    run_program(arguments, "qemu-utils");
    pid_ = std::stoi(persistent_data::test::content_of(socket + ".pid"));
  }
  ~server() { stop(); }
  void stop() {
    if (pid_ > 0) ::kill(std::exchange(pid_, 0), SIGKILL);
  }

 private:
  pid_t pid_ = 0;
};

TEST(NbdUri, MayHaveARelativeSocket) {
  for (const char* uri : {"nbd+unix:///?socket=s", "nbd+unix:///disk?socket=../a/s",
                          "nbds+unix:///?tls-certificates=c&socket=s", "nbd+unix:///?%73ocket=s"})
    EXPECT_TRUE(has_relative_socket(uri)) << uri;
  for (const char* uri :
       {"nbd+unix:///?socket=/run/s", "nbd+unix:///?socket=%2frun%2fs", "nbd://host/socket=s",
        "nbd://host", "nbd+unix:///?socket=", "nbd+unix:///?%2", "nbd+unix:///a?x=1&socket=/s"})
    EXPECT_FALSE(has_relative_socket(uri)) << uri;
}

TEST_F(NbdTarget, MayBeAnExport) {
  const std::string path = directory_.random_file("disk", 640 * block, 1);
  std::string wanted = persistent_data::test::content_of(path);
  server nbd(directory_ / "socket", {path});
  const std::string uri = uri_of("socket");
  EXPECT_TRUE(is_nbd_uri(uri));
  EXPECT_FALSE(is_nbd_uri("nbd.img"));
  {
    const auto target = connect_nbd(uri, {640 * block, block});
    EXPECT_EQ(target->size(), 640 * block);
    EXPECT_EQ(target->held_bytes(), 640 * block);
    EXPECT_FALSE(target->reads_as_zeros(0, block));
    // More than the server takes in one request.
    const std::string large(639 * block, 'z');
    const std::string small(block, 's');
    target->start({1, block, bytes_of(large), false});
    target->start({2, 0, bytes_of(small), false});
    const std::size_t first = target->wait(), second = target->wait();
    EXPECT_EQ(first + second, 3u);  // each of them once
    wanted.replace(block, large.size(), large);
    wanted.replace(0, block, small);
    target->flush();
  }
  EXPECT_TRUE(persistent_data::test::content_of(path) == wanted);
}

TEST_F(NbdTarget, LosesItsServer) {
  const std::string path = directory_.random_file("disk", block, 1);
  server nbd(directory_ / "socket", {path});
  const auto target = connect_nbd(uri_of("socket"), {block, block});
  nbd.stop();
  const std::string data(block, 'x');
  EXPECT_THAT(error_of([&] {
                for (;;) write(*target, 0, data);
              }),
              HasSubstr("socket: "));
  EXPECT_NE(error_of([&] { target->flush(); }), "");
}

TEST_F(NbdTarget, IsWritable) {
  const std::string path = directory_.random_file("disk", block, 1);
  server nbd(directory_ / "socket", {"--read-only", path});
  EXPECT_THAT(error_of([&] {
                connect_nbd(uri_of("socket"), {block, block});
              }),
              HasSubstr("is read-only"));
  EXPECT_THAT(error_of([&] {
                connect_nbd(uri_of("none"), {block, block});
              }),
              HasSubstr("cannot connect"));
}

TEST_F(NbdTarget, TakesAllOfTheSource) {
  const std::string path = directory_.random_file("disk", block, 1);
  server nbd(directory_ / "socket", {path});
  EXPECT_THAT(error_of([&] {
                connect_nbd(uri_of("socket"), {block + 512, block});
              }),
              HasSubstr("is too small: it has 65536 bytes, and the source has 66048"));
}

// As a disk of large sectors is served without a cache.
TEST_F(NbdTarget, TakesTheUnitsOfTheSource) {
  const std::string path = directory_.random_file("disk", 4 * block, 1);
  const std::string disk = "driver=blkdebug,align=4096,image.driver=file,image.filename=" + path;
  server nbd(directory_ / "socket", "--image-opts", {disk});
  const std::string uri = uri_of("socket");
  EXPECT_THAT(error_of([&] {
                connect_nbd(uri, {4 * block, 3 * block + 1024});
              }),
              HasSubstr(uri + ": its server takes multiples of 4096 bytes only, and a block of the "
                              "source has 197632; "));
  EXPECT_THAT(error_of([&] {
                connect_nbd(uri, {3 * block + 512, block});
              }),
              HasSubstr("4096 bytes only, and the source has 197120; "));
  const auto target = connect_nbd(uri, {3 * block + 4096, 4096});
  write(*target, 3 * block, std::string(4096, 'x'));
  target->flush();
  EXPECT_EQ(persistent_data::test::content_of(path).substr(3 * block, 4096),
            std::string(4096, 'x'));
}

}  // namespace
}  // namespace era
