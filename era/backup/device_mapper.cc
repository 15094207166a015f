// SPDX-License-Identifier: GPL-3.0-or-later
// libdevmapper's messages, which it would print, become the text of the exception.
#include "era/backup/device_mapper.h"

#include "config.h"
#include "persistent-data/format/errors.h"

#ifdef HAVE_DEVMAPPER
#include <fmt/format.h>
#include <libdevmapper.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <memory>
#endif

namespace era {

namespace pd = persistent_data;

#ifdef HAVE_DEVMAPPER

namespace {

// libdevmapper has one log for the process.
std::string& errors_of_library() {
  static std::string text;
  return text;
}

// Keeps errors; drops warnings, and what is only told at its verbose levels.
// NOLINTNEXTLINE(cert-dcl50-cpp): libdevmapper calls it so
[[gnu::format(printf, 5, 6)]] void keep_error(int level, const char*, int, int, const char* format,
                                              ...) {
  constexpr int level_bits = 7, error_level = 3;
  if ((level & level_bits) > error_level) return;
  std::array<char, 512> line{};
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line.data(), line.size(), format, arguments);
  va_end(arguments);
  std::string& text = errors_of_library();
  if (!text.empty()) text += "; ";
  text += line.data();
}

class library final : public device_mapper {
 public:
  library() {
    ::dm_log_with_errno_init(keep_error);
    // To open it again could wait for a device that is suspended.
    ::dm_hold_control_dev(1);
    // The same nodes are there after a resume. To wait for udev could only hang.
    ::dm_udev_set_sync_support(0);
  }

  mapped_device_info info(const std::string& name) override {
    const task asked(DM_DEVICE_INFO, name, "be looked up");
    asked.must(::dm_task_no_open_count(asked.get()));
    asked.run();
    dm_info found{};
    asked.must(::dm_task_get_info(asked.get(), &found));
    return {.exists = found.exists != 0,
            .suspended = found.suspended != 0,
            .has_inactive_table = found.inactive_table != 0};
  }

  std::vector<mapped_target> table(const std::string& name) override {
    return targets(DM_DEVICE_TABLE, name, "be asked for its table");
  }
  std::vector<mapped_target> status(const std::string& name) override {
    return targets(DM_DEVICE_STATUS, name, "be asked for its status");
  }

  void message(const std::string& name, const std::string& text) override {
    const task sent(DM_DEVICE_TARGET_MSG, name, fmt::format("take the message {}", text));
    sent.must(::dm_task_set_sector(sent.get(), 0));
    sent.must(::dm_task_set_message(sent.get(), text.c_str()));
    sent.run();
  }

  void suspend(const std::string& name) override {
    task(DM_DEVICE_SUSPEND, name, "be suspended").run();
  }

  void resume(const std::string& name) override {
    const task resumed(DM_DEVICE_RESUME, name, "be resumed");
    // The cookie tells udev's rules that this event is not an artificial one. It may fail.
    std::uint32_t cookie = 0;
    const bool has_cookie = ::dm_task_set_cookie(resumed.get(), &cookie, 0) != 0;
    const int done = resumed.try_run();
    if (has_cookie) ::dm_udev_wait(cookie);  // only ends the use of the cookie
    resumed.must(done);
  }

  std::string node(unsigned major, unsigned minor) override {
    std::array<char, 4096> name{};
    std::vector<std::string> paths;
    for (const int prefers_kernel_name : {0, 1})
      if (::dm_device_get_name(major, minor, prefers_kernel_name, name.data(), name.size())) {
        if (prefers_kernel_name == 0)
          paths.push_back(fmt::format("{}/{}", ::dm_dir(), name.data()));
        // sysfs writes '!' for '/'.
        std::string kernel_name = name.data();
        for (char& c : kernel_name)
          if (c == '!') c = '/';
        paths.push_back(fmt::format("/dev/{}", kernel_name));
      }
    paths.push_back(fmt::format("/dev/block/{}:{}", major, minor));
    for (const std::string& path : paths) {
      struct stat found {};
      if (::stat(path.c_str(), &found) == 0 && S_ISBLK(found.st_mode) &&
          found.st_rdev == ::makedev(major, minor))
        return path;
    }
    throw pd::device_error(fmt::format("block device {}:{} has no node in /dev", major, minor));
  }

 private:
  class task {
   public:
    task(int type, const std::string& name, std::string step)
        : name_(name), step_(std::move(step)), task_(make(type), &::dm_task_destroy) {
      must(task_ != nullptr && ::dm_task_set_name(task_.get(), name.c_str()));
    }
    dm_task* get() const { return task_.get(); }
    void run() const { must(try_run()); }
    // Returns 0 if it fails.
    int try_run() const { return ::dm_task_run(task_.get()); }
    // Throws device_error if `done` is 0.
    void must(int done) const {
      if (done) return;
      std::string reason = errors_of_library();
      if (reason.empty()) reason = "libdevmapper does not say why";
      throw pd::device_error(fmt::format("mapped device {} cannot {}: {}", name_, step_, reason));
    }

   private:
    static dm_task* make(int type) {
      errors_of_library().clear();
      return ::dm_task_create(type);
    }

    std::string name_, step_;
    std::unique_ptr<dm_task, decltype(&::dm_task_destroy)> task_;
  };

  static std::vector<mapped_target> targets(int type, const std::string& name, std::string step) {
    const task asked(type, name, std::move(step));
    asked.must(::dm_task_no_open_count(asked.get()));
    asked.run();
    std::vector<mapped_target> found;
    void* next = nullptr;
    do {
      mapped_target target;
      char *target_type = nullptr, *parameters = nullptr;
      next = ::dm_get_next_target(asked.get(), next, &target.begin, &target.length, &target_type,
                                  &parameters);
      if (!target_type) continue;
      target.type = target_type;
      if (parameters) target.parameters = parameters;
      found.push_back(std::move(target));
    } while (next);
    return found;
  }
};

}  // namespace

device_mapper& device_mapper::real() {
  static library calls;
  return calls;
}

#else

namespace {

class no_library final : public device_mapper {
 public:
  mapped_device_info info(const std::string&) override { refuse(); }
  std::vector<mapped_target> table(const std::string&) override { refuse(); }
  std::vector<mapped_target> status(const std::string&) override { refuse(); }
  void message(const std::string&, const std::string&) override { refuse(); }
  void suspend(const std::string&) override { refuse(); }
  void resume(const std::string&) override { refuse(); }
  std::string node(unsigned, unsigned) override { refuse(); }

 private:
  [[noreturn]] static void refuse() {
    throw pd::device_error(
        "this program was built without libdevmapper, which mapped devices need: install "
        "libdevmapper-dev, then configure and build it again");
  }
};

}  // namespace

device_mapper& device_mapper::real() {
  static no_library calls;
  return calls;
}

#endif

}  // namespace era
