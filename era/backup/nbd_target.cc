// SPDX-License-Identifier: GPL-3.0-or-later
// Requests are sent as they come; libnbd collects the answers while wait() polls.
#include "era/backup/nbd_target.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "config.h"
#include "era/backup/qcow2_image.h"
#include "era/backup/qemu_nbd.h"
#include "persistent-data/format/errors.h"

#ifdef HAVE_LIBNBD
#include <fcntl.h>
#include <libnbd.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/unique_fd.h"
#endif

namespace era {

namespace pd = persistent_data;

namespace {

// With %XX as the byte that it stands for.
std::string decoded(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      result += static_cast<char>(byte);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

bool is_nbd_uri(const std::string& name) {
  for (const char* scheme : {"nbd:", "nbds:", "nbd+unix:", "nbds+unix:", "nbd+vsock:"})
    if (name.starts_with(scheme)) return true;
  return false;
}

bool has_relative_socket(const std::string& uri) {
  std::size_t at = uri.find('?');
  while (at != std::string::npos) {
    const std::size_t end = uri.find_first_of("&;#", at + 1);
    const std::string parameter =
        decoded(uri.substr(at + 1, end == std::string::npos ? end : end - at - 1));
    constexpr std::string_view key = "socket=";
    if (parameter.starts_with(key) && parameter.size() > key.size() && parameter[key.size()] != '/')
      return true;
    at = end;
  }
  return false;
}

#ifndef HAVE_LIBNBD

namespace {

[[noreturn]] void fail(const std::string& name) {
  throw pd::device_error(
      fmt::format("{}: this program was built without libnbd (Debian package libnbd-dev)", name));
}

}  // namespace

std::unique_ptr<backup_target> connect_nbd(const std::string& uri, const source_layout&) {
  fail(uri);
}

std::unique_ptr<backup_target> open_qcow2(const qcow2_file& file) { fail(file.name); }

#else
namespace {

constexpr nbd_completion_callback no_callback{};
constexpr std::uint64_t no_end = ~std::uint64_t{0};
constexpr std::uint64_t default_max_request = std::uint64_t{32} << 20;  // as the protocol says

struct close_nbd {
  void operator()(nbd_handle* h) const noexcept { nbd_close(h); }
};
using nbd_ptr = std::unique_ptr<nbd_handle, close_nbd>;

[[noreturn]] void fail(const std::string& name, const std::string& doing) {
  throw pd::device_error(fmt::format("{}: {}: {}", name, doing, nbd_get_error()));
}

nbd_ptr make_handle(const std::string& name) {
  nbd_ptr h(nbd_create());
  if (!h) fail(name, "cannot use libnbd");
  return h;
}

class nbd_target final : public backup_target {
 public:
  nbd_target(nbd_ptr h, std::string name, std::uint64_t held_bytes, std::uint64_t zeros_from,
             std::unique_ptr<qemu_nbd> server = {})
      : server_(std::move(server)),
        h_(std::move(h)),
        name_(std::move(name)),
        held_bytes_(held_bytes),
        zeros_from_(zeros_from) {
    const std::int64_t size = nbd_get_size(h_.get());
    if (size < 0) fail(name_, "cannot tell its size");
    size_ = static_cast<std::uint64_t>(size);
    if (nbd_is_read_only(h_.get()) != 0)
      throw pd::device_error(fmt::format("{}: is read-only", name_));
    if (nbd_can_flush(h_.get()) != 1)
      throw pd::device_error(
          fmt::format("{}: its server cannot flush: what it was given may be lost", name_));
    can_zero_ = nbd_can_zero(h_.get()) == 1;
    const std::int64_t most = nbd_get_block_size(h_.get(), LIBNBD_SIZE_MAXIMUM);
    if (most > 0) max_request_ = std::min(max_request_, static_cast<std::uint64_t>(most));
  }

  // A server that was started here ends when it has lost its client. Requests that are still under
  // way after an error are given up: their memory may be gone.
  ~nbd_target() override {
    if (under_way_.empty()) nbd_shutdown(h_.get(), 0);
  }

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return size_; }
  std::uint64_t held_bytes() const noexcept override { return std::min(held_bytes_, size_); }
  bool reads_as_zeros(std::uint64_t offset, std::uint64_t) override {
    return offset >= zeros_from_;
  }
  std::size_t depth() const noexcept override { return 16; }

  void start(const backup_write& w) override {
    for (std::uint64_t done = 0; done < w.data.size();) {
      const std::uint64_t bytes = std::min<std::uint64_t>(max_request_, w.data.size() - done);
      const std::int64_t cookie =
          w.is_zero && can_zero_ ? nbd_aio_zero(h_.get(), bytes, w.offset + done, no_callback, 0)
                                 : nbd_aio_pwrite(h_.get(), w.data.data() + done, bytes,
                                                  w.offset + done, no_callback, 0);
      if (cookie < 0) fail(name_, fmt::format("cannot write at byte {}", w.offset + done));
      under_way_[cookie] = {w.tag, w.offset + done};
      ++requests_[w.tag];
      done += bytes;
    }
  }

  std::size_t wait() override {
    while (!under_way_.empty()) {
      const std::int64_t cookie = nbd_aio_peek_command_completed(h_.get());
      if (cookie > 0) {
        const auto [tag, offset] = under_way_.extract(cookie).mapped();
        if (nbd_aio_command_completed(h_.get(), static_cast<std::uint64_t>(cookie)) != 1)
          fail(name_, fmt::format("cannot write at byte {}", offset));
        if (--requests_[tag] == 0) return tag;
      } else if (nbd_poll(h_.get(), -1) < 0) {
        fail(name_, "has lost its server");
      }
    }
    // Only a write of which a part has failed leads here.
    throw pd::device_error(fmt::format("{}: a write has failed", name_));
  }

  void flush() override {
    if (nbd_flush(h_.get(), 0) != 0) fail(name_, "cannot be flushed");
  }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    while (!to.empty()) {
      const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(max_request_, to.size()));
      if (nbd_pread(h_.get(), to.data(), bytes, offset, 0) != 0)
        fail(name_, fmt::format("cannot read back byte {}", offset));
      offset += bytes;
      to = to.subspan(bytes);
    }
  }

 private:
  struct request {
    std::size_t tag;
    std::uint64_t offset;  // in bytes
  };

  std::unique_ptr<qemu_nbd> server_;  // started here; it ends after h_
  nbd_ptr h_;
  std::string name_;
  std::uint64_t held_bytes_;
  std::uint64_t zeros_from_;
  std::uint64_t size_ = 0, max_request_ = default_max_request;
  bool can_zero_ = false;
  std::map<std::int64_t, request> under_way_;    // by cookie
  std::map<std::size_t, std::size_t> requests_;  // under way, by tag
};

void require_unit(nbd_handle* h, const std::string& uri, const source_layout& source) {
  const std::int64_t least = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
  const std::uint64_t unit = least > 0 ? static_cast<std::uint64_t>(least) : 1;
  const auto refuse = [&](const std::string& why) {
    throw pd::device_error(fmt::format(
        "{}: its server takes multiples of {} bytes only, and {}; let it serve a file instead of a "
        "device, or back up into a file",
        uri, unit, why));
  };
  if (source.block_bytes % unit != 0)
    refuse(fmt::format("a block of the source has {}", source.block_bytes));
  if (source.bytes % unit != 0) refuse(fmt::format("the source has {}", source.bytes));
}

}  // namespace

std::unique_ptr<backup_target> connect_nbd(const std::string& uri, const source_layout& source) {
  nbd_ptr h = make_handle(uri);
  if (nbd_connect_uri(h.get(), uri.c_str()) != 0) fail(uri, "cannot connect");
  require_unit(h.get(), uri, source);
  // All that it has may be a backup; nothing is known to be zeros.
  auto target = std::make_unique<nbd_target>(std::move(h), uri, no_end, no_end);
  if (target->size() < source.bytes)
    throw pd::device_error(fmt::format("{}: is too small: it has {} bytes, and the source has {}",
                                       uri, target->size(), source.bytes));
  return target;
}

namespace {

// Past the page cache, data is copied once less. Empty if the file system or the kernel cannot do
// it.
std::vector<std::string> direct_options(const std::string& path) {
  const pd::unique_fd fd(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  if (fd.get() < 0) return {};
  return {"--cache=none", pd::make_uring_engine(fd.get()) ? "--aio=io_uring" : "--aio=native"};
}

std::unique_ptr<qemu_nbd> start_qemu_nbd(const std::vector<std::string>& options,
                                         const std::string& path) {
  std::vector<std::string> words{"qemu-nbd", "--format=qcow2", "--discard=unmap"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--", name_for_qemu(path)});
  return std::make_unique<qemu_nbd>(words);
}

}  // namespace

// A qemu-nbd that was built without what is asked of it serves the image without.
std::unique_ptr<backup_target> open_qcow2(const qcow2_file& file) {
  const auto options = direct_options(file.path);
  auto server = start_qemu_nbd(options, file.path);
  nbd_ptr h = make_handle(file.name);
  bool connected = nbd_connect_socket(h.get(), server->connect()) == 0;
  if (!connected && !options.empty()) {
    h = make_handle(file.name);
    server.reset();  // it has the image's lock until it has ended
    server = start_qemu_nbd({}, file.path);
    connected = nbd_connect_socket(h.get(), server->connect()) == 0;
  }
  if (!connected) fail(file.name, "cannot be opened by qemu-nbd (Debian package qemu-utils)");
  return std::make_unique<nbd_target>(std::move(h), file.name, file.held_bytes, file.zeros_from,
                                      std::move(server));
}

#endif
}  // namespace era
