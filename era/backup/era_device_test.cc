// SPDX-License-Identifier: GPL-3.0-or-later
// The order of the steps, and that the device is resumed whatever happens. The command is a real
// one, and so is the watchdog; the device mapper is not.
#include "era/backup/era_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "era/testing/fake_device_mapper.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/sanitized.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::fake_device_mapper;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string error_of(const std::function<void()>& step) {
  try {
    step();
    return "";
  } catch (const pd::device_error& e) {
    return e.what();
  }
}

// As if the user had interrupted the program.
struct interrupted_here {};

void wait_for(int fd) {
  pollfd watched{fd, POLLIN, 0};
  while (::poll(&watched, 1, -1) < 0) continue;
}

class EraDevice : public ::testing::Test {
 protected:
  EraDevice() {
    fifo_ = pd::unique_fd(::open(directory_.fifo("fifo").c_str(), O_RDWR | O_CLOEXEC));
    alive_ =
        pd::unique_fd(::open(directory_.fifo("alive").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!fifo_ || !alive_) throw std::runtime_error("open");
  }
  std::string path(const char* name) const { return directory_ / name; }
  // Waits until release().
  std::string waiting() const { return "read -r line <" + path("fifo"); }
  void release() const { ASSERT_EQ(::write(fifo_.get(), "\n", 1), 1); }
  // The command has the FIFO "alive" open for writing, and has written a byte to it.
  void wait_for_begin() const {
    char byte;
    wait_for(alive_.get());
    ASSERT_EQ(::read(alive_.get(), &byte, 1), 1);
  }
  // None of the command's processes has the FIFO open any longer.
  void wait_for_end() const {
    char byte;
    ::fcntl(alive_.get(), F_SETFL, 0);
    EXPECT_EQ(::read(alive_.get(), &byte, 1), 0);
  }
  // Time limits that are never reached.
  static snapshot_command_options shell(std::string text) {
    return {.shell = std::move(text), .time_limit = 10min, .grace = 10min};
  }
  std::string error_of_snapshot(const snapshot_command_options& options) {
    return error_of([&] { era_device("my_era", dm).snapshot_data(options, wait_for); });
  }

  fake_device_mapper dm;
  pd::test::scratch_directory directory_;
  pd::unique_fd fifo_, alive_;
};

TEST_F(EraDevice, HasWhatItsTableSays) {
  const era_device device("my_era", dm);
  EXPECT_EQ(device.metadata(), "/dev/node-253-1");
  EXPECT_EQ(device.origin(), "/dev/node-253-2");
  EXPECT_EQ(device.block_size(), 128);
  EXPECT_EQ(device.size(), 20'480);
  EXPECT_THAT(dm.calls(), IsEmpty());
}

TEST_F(EraDevice, IsOneEraTarget) {
  const auto error = [&](const char* name = "my_era") {
    return error_of([&] { era_device(name, dm); });
  };
  EXPECT_EQ(error("other"), "there is no mapped device other");
  const mapped_target whole = dm.its_table[0];
  dm.its_table[0].type = "linear";
  EXPECT_EQ(error(), "mapped device my_era is no era device: its table has the target linear");
  dm.its_table = {whole, whole};
  EXPECT_EQ(error(), "mapped device my_era is no era device: its table has 2 targets");
  dm.its_table = {};
  EXPECT_EQ(error(), "mapped device my_era is no era device: its table has no target");
  for (const char* parameters : {"", "253:1 253:2", "253:1 253:2 x", "253:1 253:2 128 1"}) {
    dm.its_table = {{0, 8, "era", parameters}};
    EXPECT_THAT(error(), HasSubstr("a table that is not understood: " + std::string(parameters)));
  }
}

TEST_F(EraDevice, RunsTheCommandWhileItIsSuspended) {
  era_device device("my_era", dm);
  // Somebody else ends eras between the look at the status and the suspend.
  dm.at_suspend = [&] { dm.state().era += 3; };
  const data_snapshot made = device.snapshot_data(
      shell(waiting() + "; echo $ERA_DEVICE $ERA_NEXT; echo more >&2"), [&](int fd) {
        dm.note(dm.state().suspended ? "command" : "command, not suspended");
        release();
        wait_for(fd);
      });
  EXPECT_EQ(made.next_era.value, 8);
  EXPECT_EQ(made.output, "my_era 8\nmore\n");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "command", "resume"));
}

// The process's own surroundings are not the command's.
TEST_F(EraDevice, RunsTheCommandByItself) {
  ::setenv("ERA_NEXT", "1", 1);
  ::setenv("ERA_OTHER", "kept", 1);
  sigset_t term, before;
  ::sigemptyset(&term);
  ::sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &term, &before);
  const auto action = ::signal(SIGPIPE, SIG_IGN);
  const pd::unique_fd not_for_the_command(::open("/dev/null", O_RDONLY));  // NOLINT: no O_CLOEXEC
  const pd::unique_fd input(::dup(STDIN_FILENO));                          // NOLINT: likewise
  ::dup2(fifo_.get(), STDIN_FILENO);
  const data_snapshot made =
      era_device("my_era", dm)
          .snapshot_data(
              shell("tr '\\0' '\\n' </proc/$$/environ | grep -E '^ERA_(DEV|NEXT|OTHER)' | sort; "
                    "read -r pid name state parent group session terminal rest </proc/self/stat; "
                    "[ $pid = $group ] && [ $pid = $session ] && [ $terminal = 0 ] && echo apart; "
                    "grep -E '^Sig(Blk|Ign):' /proc/self/status | tr -d '[:blank:]'; "
                    "readlink /proc/$$/fd/? || true"),
              wait_for);
  ::dup2(input.get(), STDIN_FILENO);
  ::signal(SIGPIPE, action);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::unsetenv("ERA_NEXT");
  ::unsetenv("ERA_OTHER");
  const std::string memory = "/memfd:output of the snapshot command (deleted)\n";
  EXPECT_EQ(made.output,
            "ERA_DEVICE=my_era\nERA_NEXT=8\nERA_OTHER=kept\napart\n"
            "SigBlk:0000000000000000\nSigIgn:0000000000000000\n/dev/null\n" +
                memory + memory);
}

TEST_F(EraDevice, GivesTheEndOfALongOutput) {
  const data_snapshot made =
      era_device("my_era", dm).snapshot_data(shell("seq 100000; echo end"), wait_for);
  EXPECT_EQ(made.output.size(), 64 << 10);
  EXPECT_TRUE(made.output.ends_with("\n100000\nend\n"));
}

TEST_F(EraDevice, IsResumedIfTheCommandFails) {
  const auto error = [&](const std::string& text) { return error_of_snapshot(shell(text)); };
  EXPECT_EQ(error("exit 5"), "the snapshot command failed with exit status 5: exit 5");
  EXPECT_EQ(error("kill -9 $$"),
            "the snapshot command was killed by a signal (Killed): kill -9 $$");
  EXPECT_EQ(error("seq 9; echo; echo '  no room' >&2; false"),
            "the snapshot command failed with exit status 1: seq 9; echo; echo '  no room' >&2; "
            "false; it printed: 8; 9; no room");
  EXPECT_THAT(error("/nowhere/lvcreate"), HasSubstr("exit status 127"));
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume", "suspend", "resume", "suspend", "resume",
                                      "suspend", "resume"));
}

TEST_F(EraDevice, IsResumedIfTheCommandTakesTooLong) {
  auto options = shell("trap 'echo told; exit 0' TERM; " + waiting());
  options.time_limit = 50ms;
  EXPECT_THAT(error_of_snapshot(options),
              HasSubstr("was ended, since it took longer than 0.05 s: trap"));
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
  EXPECT_FALSE(dm.state().suspended);
}

// Every process of the command is ended, also those that do not want to.
TEST_F(EraDevice, EndsAllOfTheCommand) {
  auto options = shell("trap '' TERM; exec 9>" + path("alive") + "; (echo; " + waiting() +
                       ") >&9 & " + waiting());
  options.time_limit = options.grace = 50ms;
  EXPECT_THAT(error_of([&] {
                era_device("my_era", dm).snapshot_data(options, [&](int fd) {
                  wait_for_begin();
                  wait_for(fd);
                });
              }),
              HasSubstr("took longer than 0.05 s"));
  wait_for_end();
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
}

TEST_F(EraDevice, IsResumedIfTheUserInterrupts) {
  EXPECT_THROW(era_device("my_era", dm)
                   .snapshot_data(shell("exec 9>" + path("alive") + "; echo >&9; " + waiting()),
                                  [&](int) {
                                    wait_for_begin();
                                    throw interrupted_here();
                                  }),
               interrupted_here);
  wait_for_end();
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
}

TEST_F(EraDevice, IsResumedIfTheSuspendFailsHalfway) {
  dm.fails = "suspend";
  EXPECT_EQ(error_of_snapshot(shell("echo >" + path("file"))), "suspend: Input/output error");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
  EXPECT_FALSE(fs::exists(path("file")));
}

TEST_F(EraDevice, IsLeftAloneIfTheSuspendFails) {
  dm.fails = "suspend";
  dm.at_suspend = [&] { dm.state().suspended = false; };
  EXPECT_EQ(error_of_snapshot(shell("echo >" + path("file"))), "suspend: Input/output error");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend"));
  EXPECT_FALSE(fs::exists(path("file")));
}

// The watchdog tries once more.
TEST_F(EraDevice, NamesTheWayOutIfItCannotBeResumed) {
  dm.fails = "resume";
  ::testing::internal::CaptureStderr();
  const std::string after_success = error_of_snapshot(shell("true"));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(after_success,
            "resume: Input/output error. Writes to it wait; resume it: dmsetup resume my_era");
  EXPECT_EQ(said, "resume: Input/output error\nresume it: dmsetup resume my_era\n");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume", "resume"));

  dm.state().suspended = false;
  ::testing::internal::CaptureStderr();
  dm.at_suspend = [] { throw pd::device_error("no"); };
  EXPECT_THAT(error_of_snapshot(shell("true")),
              HasSubstr("dmsetup resume my_era. Before that: no"));
  ::testing::internal::GetCapturedStderr();
}

TEST_F(EraDevice, RefusesASnapshotDuringWhichItWasResumed) {
  EXPECT_THAT(error_of([&] {
                era_device("my_era", dm).snapshot_data(shell(waiting()), [&](int fd) {
                  dm.state().suspended = false;
                  release();
                  wait_for(fd);
                });
              }),
              HasSubstr("somebody resumed era device my_era while the snapshot command"));
  EXPECT_THAT(dm.calls(), ElementsAre("suspend"));
}

TEST_F(EraDevice, IsNotSuspendedIfSomethingIsInTheWay) {
  const auto error = [&] { return error_of_snapshot(shell("echo >" + path("file"))); };
  dm.state().suspended = true;
  EXPECT_THAT(error(),
              AllOf(HasSubstr("is suspended already"), HasSubstr("dmsetup resume my_era")));
  dm.state().suspended = false;
  dm.has_inactive_table = true;
  EXPECT_THAT(error(), AllOf(HasSubstr("loaded a table"), HasSubstr("dmsetup clear my_era")));
  dm.has_inactive_table = false;
  dm.state().has_metadata_snapshot = true;
  EXPECT_THAT(error(), HasSubstr("dmsetup message my_era 0 drop_metadata_snap"));
  dm.state().has_metadata_snapshot = false;
  for (const char* status : {"Error", "", "8 11/1024 4294967295 -", "8 11/1024 x -"}) {
    dm.its_status = status;
    EXPECT_THAT(error(), HasSubstr("its metadata has failed")) << status;
  }
  EXPECT_THAT(dm.calls(), IsEmpty());
  EXPECT_FALSE(fs::exists(path("file")));
}

// The value of a line of a process's status, as text; 0 if there is no such line.
std::string status_of(const std::string& process, const std::string& line) {
  std::ifstream in("/proc/" + process + "/status");
  for (std::string word; in >> word;)
    if (word == line + ':') return in >> word, word;
  return "0";
}

bool may_lock_memory() {
  const bool may = !is_sanitized && ::mlockall(MCL_CURRENT) == 0;
  ::munlockall();
  return may;
}

// A page that is not in memory could be on the suspended device, and a process that ^Z stops does
// not resume it.
TEST_F(EraDevice, CannotBeHeldUpWhileItIsSuspended) {
  const auto is_locked = [] { return status_of("self", "VmLck") != "0"; };
  const auto blocks_stop = [] {
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    return ::sigismember(&blocked, SIGTSTP) == 1;
  };
  const bool may_lock = may_lock_memory();
  era_device("my_era", dm).snapshot_data(shell(waiting()), [&](int fd) {
    EXPECT_EQ(is_locked(), may_lock);
    EXPECT_TRUE(blocks_stop());
    release();
    wait_for(fd);
  });
  EXPECT_FALSE(is_locked());
  EXPECT_FALSE(blocks_stop());
}

// Neither ^C nor `kill` ends the watchdog, nor does `killall` with the program's name.
TEST_F(EraDevice, HasAWatchdogThatOutlivesTheProgram) {
  const bool may_lock = may_lock_memory();
  int found = 0;
  era_device("my_era", dm).snapshot_data(shell(waiting()), [&](int fd) {
    for (const auto& process : fs::directory_iterator("/proc")) {
      const std::string pid = process.path().filename();
      if (status_of(pid, "PPid") != std::to_string(::getpid()) ||
          status_of(pid, "Name") != "era_watchdog")
        continue;
      ++found;
      EXPECT_EQ(::getsid(std::stoi(pid)), std::stoi(pid));
      const auto blocked = std::stoull(status_of(pid, "SigBlk"), nullptr, 16);
      for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGTSTP})
        EXPECT_EQ(blocked >> (signal - 1) & 1, 1) << signal;
      EXPECT_EQ(status_of(pid, "VmLck") != "0", may_lock);
    }
    release();
    wait_for(fd);
  });
  EXPECT_EQ(found, 1);
}

TEST_F(EraDevice, LeavesNoDescriptorOpen) {
  const auto open = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = open();
  error_of_snapshot(shell("true"));
  error_of_snapshot(shell("false"));
  EXPECT_EQ(open(), before);
}

// The tool is another process, which is killed when its command is at work.
TEST_F(EraDevice, IsResumedIfTheProgramIsKilled) {
  int alive[2];
  ASSERT_EQ(::pipe2(alive, O_CLOEXEC), 0);
  ::testing::internal::CaptureStderr();
  const pid_t tool = ::fork();
  if (tool == 0) {
    ::close(alive[0]);
    era_device("my_era", dm).snapshot_data(shell(waiting()), [](int fd) {
      ::raise(SIGKILL);
      wait_for(fd);
    });
    ::_exit(0);
  }
  ::close(alive[1]);
  // The tool and its watchdog have the other end.
  char byte;
  EXPECT_EQ(::read(alive[0], &byte, 1), 0);
  ::close(alive[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(tool, &status, 0), tool);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "mapped device my_era was suspended, and is resumed: the program that suspended it has "
            "ended\n");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
  EXPECT_FALSE(dm.state().suspended);
  release();  // the command is left to its end
}

// The program hangs until somebody else has resumed the device, and then goes on.
TEST_F(EraDevice, IsResumedIfTheProgramHangs) {
  auto options = shell(waiting());
  options.time_limit = options.grace = 1ms;
  const pd::unique_fd resumed(::open(path("alive").c_str(), O_WRONLY | O_CLOEXEC));
  dm.at_resume = [&] { ASSERT_EQ(::write(resumed.get(), "r", 1), 1); };
  ::testing::internal::CaptureStderr();
  const std::string error = error_of([&] {
    era_device("my_era", dm).snapshot_data(options, [&](int) { wait_for(alive_.get()); });
  });
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("took too long"));
  EXPECT_THAT(error, HasSubstr("was ended, since it took longer than 0.001 s"));
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
}

// After its own resume the watchdog has nothing to do with the device.
TEST_F(EraDevice, IsNotResumedTwice) {
  dm.at_resume = [&] { dm.state().suspended = true; };  // by somebody else
  EXPECT_EQ(error_of_snapshot(shell("true")), "");
  EXPECT_THAT(dm.calls(), ElementsAre("suspend", "resume"));
}

TEST_F(EraDevice, IsCleanedUp) {
  era_device device("my_era", dm);
  era_device_leftovers found = device.clean_up();
  EXPECT_FALSE(found.was_suspended || found.had_metadata_snapshot);
  EXPECT_THAT(dm.calls(), IsEmpty());

  dm.state().suspended = dm.state().has_metadata_snapshot = true;
  found = device.clean_up();
  EXPECT_TRUE(found.was_suspended && found.had_metadata_snapshot);
  EXPECT_THAT(dm.calls(), ElementsAre("resume", "message drop_metadata_snap"));

  dm.state().has_metadata_snapshot = true;
  found = device.clean_up();
  EXPECT_TRUE(!found.was_suspended && found.had_metadata_snapshot);
  EXPECT_EQ(dm.calls().size(), 3);

  // Somebody is changing the device.
  dm.state().suspended = dm.has_inactive_table = true;
  EXPECT_THAT(error_of([&] { device.clean_up(); }),
              AllOf(HasSubstr("dmsetup resume my_era"), HasSubstr("dmsetup clear my_era")));
  EXPECT_EQ(dm.calls().size(), 3);

  dm.has_inactive_table = false;
  dm.fails = "resume";
  EXPECT_THAT(error_of([&] { device.clean_up(); }), HasSubstr("resume it: dmsetup resume my_era"));
}

TEST_F(EraDevice, HasOneMetadataSnapshot) {
  era_device device("my_era", dm);
  device.take_metadata_snapshot();
  EXPECT_THAT(error_of([&] { device.take_metadata_snapshot(); }),
              HasSubstr("If nobody reads it: dmsetup message my_era 0 drop_metadata_snap"));
  device.drop_metadata_snapshot();
  EXPECT_THAT(dm.calls(), ElementsAre("message take_metadata_snap", "message drop_metadata_snap"));
  dm.fails = "message";
  EXPECT_EQ(error_of([&] { device.take_metadata_snapshot(); }), "message: Input/output error");
}

}  // namespace
}  // namespace era
