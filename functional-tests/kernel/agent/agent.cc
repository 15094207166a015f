// SPDX-License-Identifier: GPL-3.0-or-later
// agent FILE: runs a scenario inside the virtual machine, one command a line. It talks to the
// device mapper itself, since a process for each command would take most of the time.
//
// The metadata is /dev/vda, the origin /dev/vdb, the input /dev/vdc, the results /dev/vdd. The era
// device lies on two devices of its own: "meta", which can be suspended while its content is
// copied, so that a copy is what a power cut would leave; and "data".
//
// Prints a line for each answer: the number of the command's line, then the answer.
#include <sys/klog.h>
#include <termios.h>

#include <fstream>
#include <sstream>

#include "functional-tests/kernel/agent/backup_nights.h"
#include "functional-tests/kernel/agent/cache_rollback.h"
#include "functional-tests/kernel/agent/device_mapper.h"
#include "functional-tests/kernel/agent/live_metadata.h"

namespace era::test {
namespace {

class agent {
 public:
  void run(const char* file) {
    constexpr int clear = 5;
    ::klogctl(clear, nullptr, 0);
    std::ifstream in(file);
    for (std::string text; std::getline(in, text);) {
      ++line_;
      std::istringstream words(text);
      std::string verb;
      words >> verb;
      if (!verb.empty()) run_line(verb, words);
      std::fflush(stdout);
    }
  }

 private:
  void answer(const std::string& text) { std::printf("%u %s\n", line_, text.c_str()); }
  // Says nothing of a success.
  void result(int error) {
    if (error) answer(std::string("error ") + std::strerror(error));
  }

  void run_line(const std::string& verb, std::istringstream& words) {
    std::uint64_t a = 0, b = 0, c = 0;
    if (verb == "meta") {  // SECTORS MILLISECONDS
      words >> a >> b;
      meta_sectors_ = a;
      result(layer("meta", "/dev/vda", a, b));
    } else if (verb == "data") {  // SECTORS MILLISECONDS
      words >> a >> b;
      result(layer("data", "/dev/vdb", a, b));
    } else if (verb == "format") {
      format();
    } else if (verb == "input") {  // OFFSET BYTES
      words >> a >> b;
      copy("/dev/vdc", a, "/dev/vda", 0, b);
    } else if (verb == "create") {  // SECTORS BLOCK_SIZE
      words >> a >> block_size_;
      result(dm_.create("era", a, "era", parameters()));
    } else if (verb == "load") {  // SECTORS
      words >> a;
      result(dm_.load("era", a, "era", parameters()));
    } else if (verb == "suspend") {
      result(dm_.suspend("era"));
    } else if (verb == "resume") {
      result(dm_.resume("era"));
    } else if (verb == "remove") {
      result(dm_.remove("era"));
    } else if (verb == "end") {
      under_way_.wait();
      dm_.remove("era");
      dm_.remove("meta");
      dm_.remove("data");
      answer("ended");
    } else if (verb == "write") {
      words >> a >> b;
      result(write_sectors(a, b));
    } else if (verb == "discard") {
      words >> a >> b;
      result(discard_sectors(a, b));
    } else if (verb == "begin") {  // a write that the next commands do not wait for
      words >> a >> b;
      result(under_way_.begin(a, b));
    } else if (verb == "wait") {
      result(under_way_.wait());
    } else if (verb == "message") {
      std::string text;
      std::getline(words >> std::ws, text);
      result(dm_.message("era", text));
    } else if (verb == "status") {
      answer(dm_.status("era"));
    } else if (verb == "digest") {
      wait_for_digestion();
    } else if (verb == "image") {
      take_image();
    } else if (verb == "log") {
      print_log();
    } else if (verb == "live") {  // ROUNDS SEED NR_BLOCKS
      words >> a >> b >> c;
      live_metadata(dm_, std::stoull(block_size_), [this](const std::string& text) {
        answer(text);
      }).run(a, static_cast<unsigned>(b), c);
    } else if (verb == "nights") {  // NIGHTS SEED NR_BLOCKS ORDER
      std::string order;
      words >> a >> b >> c >> order;
      backup_nights(dm_, c, std::stoull(block_size_), [this](const std::string& text) {
        answer(text);
      }).run(a, static_cast<unsigned>(b), order_of(order));
    } else if (verb == "rollback") {  // SECTORS SEED drop|keep
      std::string what;
      words >> a >> b >> what;
      cache_rollback(dm_, a, std::stoull(block_size_), [this](const std::string& text) {
        answer(text);
      }).run(static_cast<unsigned>(b), what == "drop");
    } else if (verb == "cut") {
      answer("cut");
      std::printf("<<< cut\n");
      std::fflush(stdout);
      ::tcdrain(STDOUT_FILENO);  // the console would lose what it has not printed yet
      std::ofstream("/proc/sysrq-trigger") << 'b' << std::flush;
      ::pause();
    } else {
      die("there is no command " + verb);
    }
  }

  // The target formats metadata that begins with a block of zeros.
  static void format() {
    const aligned_buffer zeros(4096);
    std::memset(zeros.bytes.get(), 0, 4096);
    const int fd = ::open("/dev/vda", O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0 || ::pwrite(fd, zeros.bytes.get(), 4096, 0) != 4096) die("format");
    ::close(fd);
  }

  std::string parameters() const {
    return device_mapper::path("meta") + ' ' + device_mapper::path("data") + ' ' + block_size_;
  }

  // A device whose writes take some milliseconds, or none.
  int layer(const std::string& name, const std::string& below, std::uint64_t sectors,
            std::uint64_t milliseconds) {
    const std::string start = below + " 0";
    if (milliseconds == 0) return dm_.create(name, sectors, "linear", start);
    return dm_.create(name, sectors, "delay",
                      start + " 0 " + start + ' ' + std::to_string(milliseconds));
  }

  // The number of used blocks stays the same once every archived writeset is digested.
  void wait_for_digestion() {
    std::string last;
    for (int same = 0, tries = 0; same < 5; ++tries) {
      if (tries == 30000) die("the digestion does not end");
      const std::string now = dm_.status("era");
      same = now == last ? same + 1 : 0;
      last = now;
      std::this_thread::sleep_for(10ms);
    }
  }

  // While "meta" is suspended, the kernel's writes wait: the copy is of one moment.
  void take_image() {
    if (const int error = dm_.suspend("meta", DM_SKIP_LOCKFS_FLAG)) return result(error);
    const std::uint64_t bytes = meta_sectors_ * sector_size;
    copy("/dev/vda", 0, "/dev/vdd", next_image_, bytes);
    result(dm_.resume("meta"));
    answer("image " + std::to_string(next_image_) + ' ' + std::to_string(bytes));
    next_image_ += bytes;
  }

  // The kernel's complaints since the last time: errors, and worse.
  void print_log() {
    constexpr int read_and_clear = 4;
    std::vector<char> text(1 << 18);
    const int size = ::klogctl(read_and_clear, text.data(), static_cast<int>(text.size()));
    std::istringstream lines(std::string(text.data(), static_cast<std::size_t>(std::max(size, 0))));
    for (std::string line; std::getline(lines, line);)
      if (line.size() > 3 && line[0] == '<' && line[1] < '4' && line[2] == '>')
        answer("log " + line.substr(3));
  }

  device_mapper dm_;
  unsigned line_ = 0;
  std::uint64_t meta_sectors_ = 0, next_image_ = 0;
  std::string block_size_ = "8";
  writes_under_way under_way_;
};

}  // namespace
}  // namespace era::test

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  era::test::agent().run(argv[1]);
  return 0;
}
