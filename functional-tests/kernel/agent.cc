// SPDX-License-Identifier: GPL-3.0-or-later
// agent FILE: runs a scenario inside the virtual machine, one command a line. It talks to the
// device mapper itself, since a process for each command would take most of the time.
//
// The metadata is /dev/vda, the origin /dev/vdb, the input /dev/vdc, the results /dev/vdd. The era
// device lies on two devices of its own: "meta", which can be suspended while its content is
// copied, so that a copy is what a power cut would leave; and "data".
//
// Prints a line for each answer: the number of the command's line, then the answer.
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t sector_size = 512, copy_size = 1 << 20;

[[noreturn]] void die(const std::string& what) {
  std::printf("0 agent: %s: %s\n", what.c_str(), std::strerror(errno));
  std::fflush(stdout);
  std::exit(1);
}

// Memory that direct I/O can use.
struct aligned_buffer {
  explicit aligned_buffer(std::size_t size)
      : bytes(static_cast<char*>(std::aligned_alloc(4096, size)), &std::free) {
    std::memset(bytes.get(), 0x5a, size);
  }
  std::unique_ptr<char, decltype(&std::free)> bytes;
};

class device_mapper {
 public:
  device_mapper() : control_(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC)) {
    if (control_ < 0) die("/dev/mapper/control");
  }

  // Each returns 0 or an errno.
  int create(const std::string& name, std::uint64_t sectors, const std::string& type,
             const std::string& parameters) {
    if (const int error = call(DM_DEV_CREATE, name, 0, "")) return error;
    const dev_t number = static_cast<dev_t>(answer().dev);
    int error = load(name, sectors, type, parameters);
    if (!error) error = resume(name);
    if (error) {
      remove(name);
      return error;
    }
    const std::string node = path(name);
    ::unlink(node.c_str());
    if (::mknod(node.c_str(), S_IFBLK | 0600, ::makedev(major(number), minor(number))) != 0)
      die(node);
    return 0;
  }

  int load(const std::string& name, std::uint64_t sectors, const std::string& type,
           const std::string& parameters) {
    std::string payload(sizeof(dm_target_spec), '\0');
    dm_target_spec spec{};
    spec.length = sectors;
    std::snprintf(spec.target_type, sizeof spec.target_type, "%s", type.c_str());
    std::memcpy(payload.data(), &spec, sizeof spec);
    return call(DM_TABLE_LOAD, name, 0, payload + parameters, 1);
  }

  int suspend(const std::string& name, std::uint32_t flags = 0) {
    return call(DM_DEV_SUSPEND, name, DM_SUSPEND_FLAG | flags, "");
  }
  int resume(const std::string& name) { return call(DM_DEV_SUSPEND, name, 0, ""); }

  // There is no udev here. But the kernel may hold a device for a moment after its last user.
  int remove(const std::string& name) {
    int error = EBUSY;
    for (int tries = 0; error == EBUSY && tries < 100; ++tries) {
      if (tries > 0) std::this_thread::sleep_for(20ms);
      error = call(DM_DEV_REMOVE, name, 0, "");
    }
    return error;
  }

  int message(const std::string& name, const std::string& text) {
    std::string payload(sizeof(dm_target_msg), '\0');
    return call(DM_TARGET_MSG, name, 0, payload + text);
  }

  // The line as dmsetup prints it after the name; empty at an error.
  std::string status(const std::string& name) {
    if (call(DM_TABLE_STATUS, name, 0, "") != 0 || answer().target_count != 1) return "";
    const auto* spec =
        reinterpret_cast<const dm_target_spec*>(buffer_.data() + answer().data_start);
    return reinterpret_cast<const char*>(spec + 1);
  }

  static std::string path(const std::string& name) { return "/dev/node-" + name; }

 private:
  const dm_ioctl& answer() const { return *reinterpret_cast<const dm_ioctl*>(buffer_.data()); }

  int call(unsigned long request, const std::string& name, std::uint32_t flags,
           const std::string& payload, std::uint32_t targets = 0) {
    buffer_.assign(sizeof(dm_ioctl) + std::max<std::size_t>(payload.size() + 1, 4096), '\0');
    auto& header = *reinterpret_cast<dm_ioctl*>(buffer_.data());
    header.version[0] = DM_VERSION_MAJOR;
    header.data_size = static_cast<std::uint32_t>(buffer_.size());
    header.data_start = sizeof(dm_ioctl);
    header.flags = flags;
    header.target_count = targets;
    std::snprintf(header.name, sizeof header.name, "%s", name.c_str());
    std::memcpy(buffer_.data() + sizeof(dm_ioctl), payload.c_str(), payload.size() + 1);
    return ::ioctl(control_, request, buffer_.data()) == 0 ? 0 : errno;
  }

  int control_;
  std::vector<char> buffer_;
};

// Copies between devices, past the page cache: others use them through the device mapper.
void copy(const char* from, std::uint64_t from_offset, const char* to, std::uint64_t to_offset,
          std::uint64_t bytes) {
  const int in = ::open(from, O_RDONLY | O_DIRECT | O_CLOEXEC);
  const int out = ::open(to, O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (in < 0 || out < 0) die(in < 0 ? from : to);
  const aligned_buffer buffer(copy_size);
  for (std::uint64_t done = 0; done < bytes;) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(copy_size, bytes - done));
    if (::pread(in, buffer.bytes.get(), size, static_cast<off_t>(from_offset + done)) !=
            static_cast<ssize_t>(size) ||
        ::pwrite(out, buffer.bytes.get(), size, static_cast<off_t>(to_offset + done)) !=
            static_cast<ssize_t>(size))
      die("copy");
    done += size;
  }
  ::close(in);
  ::close(out);
}

// Returns 0 or an errno.
int write_sectors(std::uint64_t sector, std::uint64_t count) {
  const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return errno;
  const aligned_buffer buffer(copy_size);
  int error = 0;
  while (count > 0 && !error) {
    const auto now = std::min<std::uint64_t>(count, copy_size / sector_size);
    const ssize_t written = ::pwrite(fd, buffer.bytes.get(), now * sector_size,
                                     static_cast<off_t>(sector * sector_size));
    if (written < 0)
      error = errno;
    else if (static_cast<std::uint64_t>(written) != now * sector_size)
      error = EIO;
    sector += now;
    count -= now;
  }
  ::close(fd);
  return error;
}

int discard_sectors(std::uint64_t sector, std::uint64_t count) {
  const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  std::uint64_t range[2] = {sector * sector_size, count * sector_size};
  const int error = ::ioctl(fd, BLKDISCARD, range) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

struct program_result {
  int status = -1;
  std::string output;  // both streams
};

program_result run_program(const std::string& command) {
  program_result result;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) die("popen");
  std::array<char, 4096> piece;
  while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe))
    result.output.append(piece.data(), n);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  return result;
}

// Writes all the time, in a thread of its own, and keeps between which eras each block was written:
// in `known` or later, and in `possible` or earlier.
class live_writer {
 public:
  struct block {
    std::atomic<std::uint32_t> known = 0;     // written in this era at least
    std::atomic<std::uint32_t> possible = 0;  // and in this one at most
  };

  live_writer(std::uint64_t nr_blocks, std::uint64_t block_size, unsigned seed,
              const std::atomic<std::uint32_t>& oldest, const std::atomic<std::uint32_t>& newest)
      : blocks_(nr_blocks), oldest_(oldest), newest_(newest) {
    thread_ = std::thread([this, block_size, seed] {
      std::mt19937_64 random(seed);
      while (!stop_) {
        const std::uint64_t b = random() % blocks_.size();
        block& here = blocks_[b];
        const std::uint32_t from = oldest_;
        here.possible = never_ends;
        if (write_sectors(b * block_size, 8) != 0) failed_ = true;
        here.known = from;
        here.possible = newest_.load();
        ++writes_;
      }
    });
  }
  ~live_writer() {
    stop_ = true;
    thread_.join();
  }

  static constexpr std::uint32_t never_ends = ~std::uint32_t{0};
  const std::vector<block>& blocks() const { return blocks_; }
  std::uint64_t writes() const { return writes_; }
  bool failed() const { return failed_; }

 private:
  std::vector<block> blocks_;
  const std::atomic<std::uint32_t>&oldest_, &newest_;
  std::atomic<bool> stop_ = false, failed_ = false;
  std::atomic<std::uint64_t> writes_ = 0;
  std::thread thread_;
};

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
      wait();
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
      under_way_.emplace_back([this, a, b, line = line_] {
        if (const int error = write_sectors(a, b))
          std::printf("%u error %s\n", line, std::strerror(error));
      });
    } else if (verb == "wait") {
      wait();
    } else if (verb == "pause") {  // MILLISECONDS, in which the kernel works
      words >> a;
      std::this_thread::sleep_for(std::chrono::milliseconds(a));
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
      live(a, static_cast<unsigned>(b), c);
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

  void wait() {
    for (std::thread& t : under_way_) t.join();
    under_way_.clear();
  }

  // The number of used blocks stays the same once every archived writeset is digested.
  void wait_for_digestion() {
    std::string last;
    for (int same = 0, tries = 0; same < 5 && tries < 2000; ++tries) {
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

  // --- Tools on the live device

  void live(std::uint64_t rounds, unsigned seed, std::uint64_t nr_blocks) {
    std::mt19937_64 random(seed);
    std::atomic<std::uint32_t> oldest = current_era(), newest = oldest.load();
    const auto end_era = [&](const char* text) {
      ++newest;
      if (const int error = dm_.message("era", text))
        wrong(std::string(text) + ": " + std::strerror(error));
      ++oldest;
    };
    std::uint64_t writes = 0;
    {
      live_writer writer(nr_blocks, std::stoull(block_size_), seed, oldest, newest);
      for (std::uint64_t round = 0; round < rounds && wrong_ < 5; ++round) {
        while (writer.writes() < (round + 1) * 3 && !writer.failed()) std::this_thread::yield();
        if (round % 16 == 0) expect_in_use();
        if (random() % 2 == 0) end_era("checkpoint");
        std::vector<std::uint32_t> known(nr_blocks), possible(nr_blocks);
        for (std::size_t i = 0; i < nr_blocks; ++i) known[i] = writer.blocks()[i].known;
        end_era("take_metadata_snap");
        for (std::size_t i = 0; i < nr_blocks; ++i) possible[i] = writer.blocks()[i].possible;
        if (random() % 2 == 0) end_era("checkpoint");
        const std::uint32_t since = 1 + static_cast<std::uint32_t>(random() % newest);
        expect_snapshot(round % 3, since, known, possible);
        if (const int error = dm_.message("era", "drop_metadata_snap"))
          wrong(std::string("drop_metadata_snap: ") + std::strerror(error));
      }
      if (writer.failed()) wrong("a write failed");
      writes = writer.writes();
    }
    answer("live " + std::to_string(rounds) + " rounds, " + std::to_string(writes) + " writes, " +
           std::to_string(wrong_) + " wrong");
  }

  std::uint32_t current_era() {
    std::istringstream words(dm_.status("era"));
    std::string metadata_block, used;
    std::uint32_t era = 0;
    words >> metadata_block >> used >> era;
    return era;
  }

  void wrong(const std::string& text) {
    ++wrong_;
    answer("wrong " + text.substr(0, 400));
  }

  void expect_in_use() {
    const std::string meta = device_mapper::path("meta");
    for (const std::string& command : {"era_tools check " + meta, "era_tools dump " + meta,
                                       "era_tools invalidate --written-since 1 " + meta,
                                       "era_tools restore -i /compact.xml -o " + meta}) {
      const auto result = run_program(command);
      if (result.status != 1 || result.output.find("in use") == std::string::npos)
        wrong(command + ": status " + std::to_string(result.status) + ": " + result.output);
    }
  }

  void expect_snapshot(std::uint64_t which, std::uint32_t since,
                       const std::vector<std::uint32_t>& known,
                       const std::vector<std::uint32_t>& possible) {
    const std::string meta = device_mapper::path("meta");
    if (which == 0) {
      const auto result = run_program("era_tools check --metadata-snapshot " + meta);
      if (result.status != 0) wrong("check: " + result.output);
    } else if (which == 1) {
      const auto result =
          run_program("era_tools dump --metadata-snapshot --logical --compact " + meta);
      if (result.status != 0) return wrong("dump: " + result.output);
      std::istringstream lines(result.output);
      std::uint64_t blocks = 0;
      for (std::string line; std::getline(lines, line);) {
        unsigned long long begin = 0, length = 0;
        unsigned era = 0;
        if (std::sscanf(line.c_str(), " <range block_begin=\"%llu\" len=\"%llu\" era=\"%u\"/>",
                        &begin, &length, &era) != 3)
          continue;
        for (std::uint64_t b = begin; b < begin + length && b < known.size(); ++b, ++blocks)
          if (era < known[b] || era > possible[b])
            wrong("dump: block " + std::to_string(b) + " has era " + std::to_string(era) +
                  ", and it is from " + std::to_string(known[b]));
      }
      if (blocks != known.size()) wrong("dump: " + std::to_string(blocks) + " blocks");
    } else {
      const auto result =
          run_program("era_tools invalidate --metadata-snapshot --format text --written-since " +
                      std::to_string(since) + ' ' + meta);
      if (result.status != 0) return wrong("invalidate: " + result.output);
      std::vector<bool> listed(known.size());
      std::istringstream numbers(result.output);
      for (std::uint64_t begin = 0, end = 0; numbers >> begin >> end;)
        for (std::uint64_t b = begin; b < end && b < listed.size(); ++b) listed[b] = true;
      for (std::size_t b = 0; b < known.size(); ++b)
        if (listed[b] ? possible[b] < since : known[b] >= since)
          wrong("invalidate: block " + std::to_string(b) + (listed[b] ? " is" : " is not") +
                " listed since " + std::to_string(since));
    }
  }

  device_mapper dm_;
  unsigned line_ = 0;
  std::uint64_t meta_sectors_ = 0, next_image_ = 0;
  std::string block_size_ = "8";
  std::vector<std::thread> under_way_;
  int wrong_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  agent().run(argv[1]);
  return 0;
}
