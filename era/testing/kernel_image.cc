// SPDX-License-Identifier: GPL-3.0-or-later
// Unpacking into a memory file that is mapped as well.
#include "era/testing/kernel_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <vector>

namespace era::test {
namespace {

std::vector<char> unpack(const std::string& file) {
  const std::string command = "xz -dc '" + file + "'";
  const auto close = [](FILE* f) { ::pclose(f); };
  // NOLINTNEXTLINE(cert-env33-c): the name is a test's own
  std::unique_ptr<FILE, decltype(close)> pipe(::popen(command.c_str(), "r"), close);
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::vector<char> bytes;
  std::array<char, 1 << 16> piece;
  while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe.get()))
    bytes.insert(bytes.end(), piece.data(), piece.data() + n);
  if (::pclose(pipe.release()) != 0) throw std::runtime_error("failed: " + command);
  return bytes;
}

}  // namespace

memory_image::memory_image(const std::string& name) : name_(name) {
  const char* const tests = std::getenv("ERA_TESTS_DIR");
  const std::string folder = tests ? tests : "functional-tests";
  const std::vector<char> bytes = unpack(folder + "/kernel-images/" + name + ".img.xz");
  const std::size_t nr_blocks = bytes.size() / sizeof(pd::block);
  if (nr_blocks == 0) throw std::runtime_error(name + ": the image is empty");

  fd_ = ::memfd_create(name.c_str(), MFD_CLOEXEC);
  const std::size_t size = nr_blocks * sizeof(pd::block);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(size)) != 0)
    throw std::runtime_error(name + ": no memory file for the image");
  void* const mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error(name + ": cannot map the image");
  std::memcpy(mapped, bytes.data(), size);
  blocks_ = {static_cast<pd::block*>(mapped), nr_blocks};
  path_ = "/proc/self/fd/" + std::to_string(fd_);
}

memory_image::~memory_image() {
  ::munmap(blocks_.data(), blocks_.size_bytes());
  ::close(fd_);
}

void memory_image::grow_device(std::uint64_t nr_blocks) {
  if (::ftruncate(fd_, static_cast<off_t>(nr_blocks * sizeof(pd::block))) != 0)
    throw std::runtime_error(name_ + ": cannot make the memory file larger");
}

}  // namespace era::test
