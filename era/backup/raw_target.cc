// SPDX-License-Identifier: GPL-3.0-or-later
// Writes go through an io_engine: several at once to a block device, one after the other to a file.
// Zeros become holes in files that can have them.
#include "era/backup/raw_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "era/backup/data_device.h"
#include "era/backup/growth_mark.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/flush_file.h"
#include "persistent-data/io/whole_transfer.h"

namespace era {
namespace {

class raw_target final : public backup_target {
 public:
  // zeros_from: in bytes; from there on nothing was ever written.
  raw_target(data_device device, const plain_image_size& image, std::uint64_t zeros_from,
             pd::system_calls& calls)
      : device_(std::move(device)),
        calls_(calls),
        engine_(device_.make_engine()),
        image_(image),
        zeros_from_(zeros_from) {}

  const std::string& name() const noexcept override { return device_.path(); }
  std::uint64_t size() const noexcept override { return image_.bytes; }
  std::uint64_t held_bytes() const noexcept override { return image_.held_bytes; }
  bool reads_as_zeros(std::uint64_t offset, std::uint64_t) override {
    return offset >= zeros_from_;
  }
  std::size_t depth() const noexcept override { return engine_->depth(); }

  void start(const backup_write& w) override {
    if (w.is_zero && punch(w)) return done_.push_back(w.tag);
    under_way_[w.tag] = w;
    submit(w);
  }

  std::size_t wait() override {
    if (!done_.empty()) {
      const std::size_t tag = done_.front();
      done_.pop_front();
      return tag;
    }
    for (;;) {
      const pd::io_completion completion = engine_->wait();
      const auto at = under_way_.find(completion.tag);
      backup_write& w = at->second;
      std::size_t written = 0;
      if (const int error =
              pd::continue_transfer(written, w.data.size(), completion.result, ENOSPC))
        fail(w.offset, error);
      w.offset += written;
      w.data = w.data.subspan(written);
      if (w.data.empty()) {
        under_way_.erase(at);
        return completion.tag;
      }
      submit(w);
    }
  }

  void flush() override {
    if (const int error = pd::flush_device(device_.descriptor(), calls_))
      device_.fail(fmt::format("cannot be flushed: {}", std::strerror(error)));
    if (!device_.is_block_device())
      ::posix_fadvise(device_.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  }

  void end_growth() override {
    if (!image_.is_marked) return;
    device_.resize(image_.bytes);
    flush();
    image_.is_marked = false;
  }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    const int error = pd::read_whole(device_.descriptor(), to, offset, calls_);
    if (error != 0)
      device_.fail(fmt::format("cannot read back byte {}: {}", offset,
                               error == ENODATA ? "the file has ended" : std::strerror(error)));
  }

 private:
  void submit(const backup_write& w) {
    // The engine only reads from it.
    auto* from = const_cast<std::byte*>(w.data.data());
    engine_->submit({from, w.data.size(), w.offset, w.tag, pd::io_operation::write});
  }

  // Returns false if the file cannot have a hole there.
  bool punch(const backup_write& w) {
    if (device_.is_block_device() || !can_punch_) return false;
    can_punch_ =
        calls_.fallocate(device_.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         static_cast<off_t>(w.offset), static_cast<off_t>(w.data.size())) == 0;
    return can_punch_;
  }

  [[noreturn]] void fail(std::uint64_t offset, int error) const {
    device_.fail(fmt::format("cannot write at byte {}: {}", offset, std::strerror(error)));
  }

  data_device device_;
  pd::system_calls& calls_;
  std::unique_ptr<pd::io_engine> engine_;
  plain_image_size image_;
  std::uint64_t zeros_from_;
  bool can_punch_ = true;
  std::deque<std::size_t> done_;
  std::map<std::size_t, backup_write> under_way_;  // what is left of them, by tag
};

bool is_there(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 || errno != ENOENT;
}

void make_file(const std::string& path, pd::system_calls& calls) {
  const pd::unique_fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd) {
    const int error = pd::flush_directory_of(path, calls);
    if (error == 0) return;
    ::unlink(path.c_str());
    throw pd::device_error(
        fmt::format("{}: its directory cannot be flushed: {}", path, std::strerror(error)));
  }
  const int error = errno;
  struct stat status {};
  const bool is_link = ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
  throw pd::device_error(fmt::format(
      "{}: {}", path,
      is_link ? "is a link to a file that is not there; name that file" : std::strerror(error)));
}

}  // namespace

std::unique_ptr<backup_target> open_raw_target(const std::string& path,
                                               const raw_target_options& options,
                                               pd::system_calls& calls) {
  if (!is_there(path)) {
    if (!options.is_new)
      throw pd::device_error(fmt::format(
          "{}: is not there, and changed blocks alone make no backup; --full copies all", path));
    make_file(path, calls);
  }
  data_device device(path, pd::access::writing, calls);
  const std::uint64_t before = device.bytes(), bytes = options.bytes;
  if (device.is_block_device()) {
    if (before < bytes)
      device.fail(
          fmt::format("is too small: it has {} bytes, and the source has {}", before, bytes));
    if (bytes % device.sector_bytes() != 0) device.write_through_cache();
    options.before_change();
    return std::make_unique<raw_target>(std::move(device), plain_image_size{before, before}, before,
                                        calls);
  }
  plain_image_size image = measure_plain_image(device.descriptor(), path, before, calls);
  if (image.bytes > bytes && !options.is_new)
    device.fail(
        fmt::format("is no backup of the source: it has {} bytes, and the source has {}; --full "
                    "copies all",
                    image.bytes, bytes));
  options.before_change();
  if (options.is_new || image.is_marked || image.bytes < bytes) {
    image = {bytes, options.is_new ? 0 : image.held_bytes, true};
    if (const int error = put_growth_mark(device.descriptor(), image, calls))
      device.fail(fmt::format("cannot be made {} bytes long: {}", bytes, std::strerror(error)));
    // A longer file is cut only when it has its mark.
    device.resize(bytes + growth_mark_bytes);
  }
  return std::make_unique<raw_target>(std::move(device), image, before, calls);
}

}  // namespace era
