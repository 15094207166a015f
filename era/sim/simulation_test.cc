// SPDX-License-Identifier: GPL-3.0-or-later
// Commands on a target: commits, ends in the middle, digestion on a nearly full device.
#include "era/sim/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "era/metadata/stripe.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era::sim {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint32_t block_size = 8;

// Remembers which sectors it was told to write, and what each call was.
class noting_origin final : public origin_device {
 public:
  struct call {
    char what;
    std::uint64_t sector, count;
    bool operator==(const call&) const = default;
  };
  std::vector<call> calls;
  std::map<std::uint64_t, std::uint64_t> first_words;  // by sector

  void read(std::uint64_t sector, std::uint64_t count, std::byte*) override {
    calls.push_back({'r', sector, count});
  }
  void write(std::uint64_t sector, std::uint64_t count, const std::byte* data) override {
    calls.push_back({'w', sector, count});
    for (std::uint64_t i = 0; i < count; ++i) {
      pd::le64 word;
      std::memcpy(&word, data + i * 512, sizeof word);
      first_words[sector + i] = word;
    }
  }
  void discard(std::uint64_t sector, std::uint64_t count) override {
    calls.push_back({'d', sector, count});
  }
  void flush() override { calls.push_back({'f', 0, 0}); }
};

class interrupted_here : public std::runtime_error {
 public:
  interrupted_here() : std::runtime_error("interrupted") {}
};

class Simulation : public ::testing::Test {
 protected:
  // Ends the simulation as a power cut does, and begins another on the same metadata.
  simulation& open(std::uint64_t blocks, digestion_mode how = digestion_mode::manual) {
    simulation_.reset();
    reports_ = 0;
    simulation_options options{.metadata = "meta",
                               .origin = "orig",
                               .origin_sectors = most_,
                               .digestion = how,
                               .out = [this](std::string_view text) { printed_ += text; },
                               .progress =
                                   [this](auto done, auto total) {
                                     last_done_ = done, last_total_ = total;
                                     if (ends_at_report_ && ++reports_ >= ends_at_report_) {
                                       ends_at_report_ = 0;
                                       throw interrupted_here();
                                     }
                                   }};
    simulation_ = std::make_unique<simulation>(
        store_, origin_, target::geometry{block_size, blocks * block_size}, std::move(options));
    return *simulation_;
  }
  bool run(const std::string& line) { return simulation_->run(*parse(line)); }
  std::string error_of(const std::string& line) {
    try {
      run(line);
      return "";
    } catch (const std::exception& e) {
      return e.what();
    }
  }
  std::uint64_t commits() {
    const std::string text = simulation_->summary(1);  // which commits once itself
    const auto at = text.find(" writes, ") + std::strlen(" writes, ");
    return std::stoull(text.substr(at)) - 1;
  }
  // The commits that the line takes.
  std::uint64_t commits_of(const std::string& line) {
    const std::uint64_t before = commits() + 1;
    run(line);
    return commits() - before;
  }
  std::uint32_t current_era() const {
    return disk_[superblock_location].as<superblock>().current_era;
  }
  // The era of each origin block, of metadata that must be sound.
  std::vector<std::uint32_t> eras() const {
    EXPECT_EQ(test::findings_in(disk_.path()), "");
    const pd::block_device device = disk_.open();
    pd::read_queue queue(device.make_engine(), device.nr_blocks());
    const auto m = test::open_metadata(queue, device, source::live, [](const finding&) {});
    std::vector<std::uint32_t> all;
    std::vector<finding> findings;
    stripe_folder folder(*m, device);
    while (all.size() < m->nr_blocks) {
      const auto stripe = folder.fold(all.size() / blocks_per_stripe, findings);
      all.insert(all.end(), stripe.begin(), stripe.end());
    }
    return all;
  }
  std::string logical() const { return dump({.logical = true, .compact = true}); }
  std::string dump(test::dump_options how = {.compact = true}) const {
    EXPECT_EQ(test::findings_in(disk_.path()), "");
    return test::dump_of(disk_.path(), how);
  }

  scratch_device disk_{512};
  recording_store store_{disk_};
  noting_origin origin_;
  std::optional<std::uint64_t> most_ = std::uint64_t{1} << 40;
  std::uint64_t reports_ = 0, ends_at_report_ = 0, last_done_ = 0, last_total_ = 0;
  std::string printed_;
  std::unique_ptr<simulation> simulation_;
};

TEST(EraLength, IsANumberAndAUnit) {
  EXPECT_EQ(parse_era_length("60s").count, 60u);
  EXPECT_EQ(parse_era_length("08s").count, 8u);
  EXPECT_EQ(parse_era_length("5writes").counted, era_length::unit::writes);
  EXPECT_EQ(parse_era_length("5blocks").counted, era_length::unit::blocks);
  for (const char* text : {"", "s", "9", "0s", "0x8s", "-1s", "+1s", " 1s", "1s ", "1.5s", "1 s",
                           "1S", "18446744073709551616s", "9\x1b[2J"})
    try {
      parse_era_length(text);
      ADD_FAILURE() << text;
    } catch (const pd::invalid_input& e) {
      EXPECT_EQ(std::string(e.what()).find('\x1b'), std::string::npos);
    }
}

// --- Commits

TEST_F(Simulation, AWriteIsOneCommit) {
  open(100000);
  EXPECT_EQ(commits_of("flush"), 0u);
  EXPECT_EQ(commits_of("write 0 8"), 1u);
  EXPECT_EQ(commits_of("write 4 4"), 0u);
  EXPECT_EQ(commits_of("write 80 400000"), 1u);
  EXPECT_EQ(commits_of("discard 400000 200000"), 1u);
  EXPECT_EQ(commits_of("sequential-writes 10 90000"), 10u);
  EXPECT_THAT(logical(), HasSubstr(R"(<range block_begin="0" len="1" era="1"/>
    <range block_begin="1" len="9" era="0"/>
    <range block_begin="10" len="74990" era="1"/>)"));
}

TEST_F(Simulation, ATracedWriteIsOneCommit) {
  open(100000);
  const std::uint64_t before = commits() + 1;
  simulation_->replay({traced_request::kind::write, 0, 400000, false, 0}, {});
  EXPECT_EQ(commits() - before, 1u);
}

TEST_F(Simulation, DataIsWrittenInPiecesAndNamesItsSectors) {
  open(100000);
  run("write 5 5000");
  EXPECT_THAT(origin_.calls,
              ElementsAre(noting_origin::call{'w', 5, 2048}, noting_origin::call{'w', 2053, 2048},
                          noting_origin::call{'w', 4101, 904}));
  EXPECT_EQ(origin_.first_words.size(), 5000u);
  for (const auto& [sector, word] : origin_.first_words) ASSERT_EQ(word, sector);
}

TEST_F(Simulation, WithoutAnOriginThereIsNoData) {
  most_.reset();
  open(100000);
  run("write 5 5000");
  EXPECT_TRUE(origin_.calls.empty());
}

TEST_F(Simulation, AFlushComesBeforeItsWrite) {
  open(100);
  simulation_->replay({traced_request::kind::write, 8, 8, true, 0}, {});
  simulation_->replay({traced_request::kind::flush, 0, 0, false, 0}, {});
  EXPECT_THAT(origin_.calls,
              ElementsAre(noting_origin::call{'f', 0, 0}, noting_origin::call{'w', 8, 8},
                          noting_origin::call{'f', 0, 0}));
}

// --- What cannot be done changes nothing.

TEST_F(Simulation, PastTheEndNothingIsWritten) {
  open(100);
  for (const char* line : {"write 0 801", "write 799 2", "write 800 1", "discard 0 801",
                           "discard 18446744073709551615 2", "write 2 18446744073709551615",
                           "sequential-writes 101", "sequential-writes 1 100",
                           "sequential-writes 18446744073709551615 2", "random-writes 5 1 99 100"})
    EXPECT_THAT(error_of(line), HasSubstr("past the end")) << line;
  EXPECT_EQ(error_of("write 2 18446744073709551615"),
            "18446744073709551615 sectors from sector 2 would be past the end of the device, which "
            "has 800");
  EXPECT_TRUE(origin_.calls.empty());
  EXPECT_THAT(logical(), HasSubstr(R"(<range block_begin="0" len="100" era="0"/>)"));
}

TEST_F(Simulation, AnOriginThatIsTooSmallIsRefusedBeforeTheMetadataIsFormatted) {
  most_ = 799;
  EXPECT_THROW(open(100), pd::invalid_input);
  EXPECT_EQ(store_.operations, 0u);
  most_ = 800;
  open(100);
  EXPECT_THAT(error_of("reload 801"), HasSubstr("orig: the origin has 800 sectors"));
}

// --- Ends in the middle.

// A signal may end any line anywhere: writes of earlier lines stay listed, the metadata is sound,
// and all that the line has written to the origin is listed in its era.
class InterruptedLine : public Simulation, public ::testing::WithParamInterface<const char*> {
 protected:
  InterruptedLine() {
    open(nr_blocks);
    for (const char* earlier :
         {"write 8 8", "random-writes 30 3", "message checkpoint", "random-writes 30 4",
          "message checkpoint", "random-writes 30 5", "reload 240008"})
      run(earlier);
    if (GetParam() == std::string("resume")) run("suspend");
    simulation_.reset();
    for (std::uint64_t b = 0; b < disk_.nr_blocks(); ++b) before_.push_back(disk_[{b}]);
  }

  // Ends the line when it reports its progress for the nth time. Returns false if it ended before.
  bool end_at(std::uint64_t nth) {
    for (std::uint64_t b = 0; b < disk_.nr_blocks(); ++b) disk_[{b}] = before_[b];
    open(nr_blocks);
    if (GetParam() == std::string("resume")) {
      run("suspend");
      run("reload 240008");
    }
    const auto before = eras();
    const std::uint32_t era = current_era();
    origin_.calls.clear();
    reports_ = 0;
    ends_at_report_ = nth;
    const bool ended = error_of(GetParam()) == "interrupted";
    ends_at_report_ = 0;
    simulation_->leave();
    const auto after = eras();
    expect_nothing_lost(before, after);
    for (const auto& call : origin_.calls)
      if (call.what != 'f') {
        for (std::uint64_t b = call.sector / block_size; b * block_size < call.sector + call.count;
             ++b)
          EXPECT_EQ(after[b], era) << b;
      }
    // As if the power was cut then.
    open(std::uint64_t{disk_[superblock_location].as<superblock>().nr_blocks});
    run("digest all");
    EXPECT_EQ(eras(), after);
    return ended;
  }

  static void expect_nothing_lost(const std::vector<std::uint32_t>& before,
                                  const std::vector<std::uint32_t>& after) {
    ASSERT_GE(after.size(), before.size());
    for (std::size_t b = 0; b < before.size(); ++b) ASSERT_GE(after[b], before[b]) << b;
  }

  static constexpr std::uint64_t nr_blocks = 30000;

 private:
  std::vector<pd::block> before_;
};

TEST_P(InterruptedLine, LosesNothing) {
  std::size_t ends = 0;
  for (std::uint64_t nth = 1; end_at(nth); nth += 1 + nth / 16) {
    ++ends;
    if (HasFailure()) FAIL() << "ended at report " << nth;
  }
  EXPECT_GE(ends, 2u);
}

INSTANTIATE_TEST_SUITE_P(All, InterruptedLine,
                         ::testing::Values("write 800 200000", "discard 800 100000",
                                           "random-writes 30 7", "sequential-writes 30 500",
                                           "digest all", "digest 10", "message checkpoint",
                                           "message take_metadata_snap", "suspend", "resume"));

TEST(InterruptibleOrigin, ALongDiscardCanEndBetweenItsPieces) {
  noting_origin origin;
  int reports = 0;
  interruptible_origin divided(origin, [&] {
    if (++reports == 3) throw interrupted_here();
  });
  constexpr std::uint64_t piece = interruptible_origin::longest_discard;
  EXPECT_THROW(divided.discard(8, 2 * piece + 8), interrupted_here);
  EXPECT_THAT(origin.calls, ElementsAre(noting_origin::call{'d', 8, piece},
                                        noting_origin::call{'d', 8 + piece, piece}));
  divided.discard(8, piece + 1);
  EXPECT_EQ(origin.calls.back(), (noting_origin::call{'d', 8 + piece, 1}));
}

TEST(InterruptibleOrigin, ReadsAndWritesAreNotDivided) {
  noting_origin origin;
  interruptible_origin divided(origin, [] { throw interrupted_here(); });
  constexpr std::uint64_t count = 100;
  std::vector<std::byte> data(count * 512);
  divided.write(8, count, data.data());
  divided.read(9, count, data.data());
  divided.flush();
  EXPECT_THAT(origin.calls,
              ElementsAre(noting_origin::call{'w', 8, count}, noting_origin::call{'r', 9, count},
                          noting_origin::call{'f', 0, 0}));
}

TEST_F(Simulation, TellsHowFarALineIs) {
  open(100000);
  run("random-writes 100 5");
  EXPECT_EQ(last_total_, 100u);
  EXPECT_EQ(last_done_, 99u);
  run("write 0 20480");
  EXPECT_EQ(last_total_, 20480u);
  EXPECT_EQ(last_done_, 18432u);
  run("flush");
  run("status");
  EXPECT_EQ(last_total_, 0u);
}

// --- Digestion

TEST_F(Simulation, ALongDigestionCommitsAndAShortOneDoesNot) {
  open(200000);
  run("write 0 1600000");
  run("message checkpoint");
  EXPECT_EQ(commits_of("digest 63"), 0u);
  EXPECT_EQ(commits_of("digest 64"), 1u);
  EXPECT_EQ(commits_of("digest all"), 2u);  // 197 blocks of the array, and the writeset's end
  EXPECT_THAT(dump(), Not(HasSubstr("writeset era=\"1\"")));
  EXPECT_EQ(error_of("suspend"), "");
  EXPECT_EQ(error_of("digest all"), "the device is suspended");
  EXPECT_EQ(error_of("digest 5"), "the device is suspended");
}

// With so few free blocks that the steps of one commit do not fit at once, whatever is digested
// before it: all of it, in more commits.
TEST_F(Simulation, DigestsAllOnANearlyFullDevice) {
  // 300 blocks of the era array and 10 of the bitset; and 24 to 100 free ones.
  constexpr std::uint64_t blocks = 300 * 1018;
  for (std::uint64_t size = 350; size < 430; size += 7) {
    scratch_device disk(size);
    recording_store store(disk);
    simulation s(store, origin_, {block_size, blocks * block_size},
                 {.digestion = digestion_mode::manual});
    s.run(*parse(fmt::format("write 0 {}", blocks * block_size)));
    s.run(*parse("message checkpoint"));
    s.run(*parse("digest all"));
    s.remove();
    EXPECT_EQ(test::findings_in(disk.path()), "");
    EXPECT_THAT(test::dump_of(disk.path(), {.compact = true}),
                HasSubstr(fmt::format(R"(<range block_begin="0" len="{}" era="1"/>)", blocks)))
        << size;
  }
}

// A snapshot that is held keeps every block of the array that digestion replaces.
TEST_F(Simulation, SaysHowFarADigestionWent) {
  constexpr std::uint64_t array_blocks = 200, blocks = array_blocks * 1018;
  scratch_device disk(340);
  recording_store store(disk);
  simulation s(store, origin_, {block_size, blocks * block_size},
               {.digestion = digestion_mode::manual});
  const auto error_of = [&](const std::string& line) -> std::string {
    try {
      s.run(*parse(line));
      return "";
    } catch (const pd::no_space& e) {
      return e.what();
    }
  };
  EXPECT_EQ(error_of("message take_metadata_snap"), "");
  EXPECT_EQ(error_of(fmt::format("write 0 {}", blocks * block_size)), "");
  EXPECT_EQ(error_of("message checkpoint"), "");
  const std::string error = error_of("digest all");
  ASSERT_THAT(error, HasSubstr(" steps digested, and the next one does not fit: store: "));
  EXPECT_THAT(error, HasSubstr("drop the snapshot"));
  const std::uint64_t digested = std::stoull(error);
  EXPECT_GT(digested, 60u);
  EXPECT_LT(digested, array_blocks);
  // Era 1's writeset is empty; each of the first steps looked at one of its bitset blocks.
  constexpr std::uint64_t without_marks = (blocks + 32575) / 32576;
  s.leave();
  EXPECT_EQ(test::findings_in(disk.path()), "");
  const std::string dump = test::dump_of(disk.path(), {.compact = true});
  EXPECT_THAT(dump, HasSubstr("<writeset era=\"2\""));
  EXPECT_THAT(dump, HasSubstr(fmt::format(R"(<range block_begin="0" len="{}" era="2"/>)",
                                          (digested - without_marks) * 1018)));
  EXPECT_EQ(error_of("message drop_metadata_snap"), "");
  EXPECT_EQ(error_of("digest all"), "");
  s.leave();
  EXPECT_THAT(test::dump_of(disk.path(), {.compact = true}), Not(HasSubstr("<writeset era=\"2\"")));
}

// A metadata snapshot keeps every block that digestion replaces until the snapshot is dropped.
TEST_F(Simulation, AWriteDoesNotFailIfDigestionBesideItDoesNotFit) {
  constexpr std::uint64_t blocks = 200 * 1018;
  scratch_device disk(340);
  recording_store store(disk);
  simulation s(store, origin_, {block_size, blocks * block_size},
               {.digestion = digestion_mode::automatic});
  s.run(*parse("message take_metadata_snap"));
  s.run(*parse(fmt::format("write 0 {}", blocks * block_size)));
  s.run(*parse("message checkpoint"));
  for (int i = 0; i < 100; ++i) ASSERT_NO_THROW(s.run(*parse("write 0 8"))) << i;
  s.leave();
  EXPECT_THAT(test::dump_of(disk.path(), {.compact = true}), HasSubstr("<writeset era=\"2\""));
  s.run(*parse("message drop_metadata_snap"));
  for (int i = 0; i < 100; ++i) {
    s.run(*parse("write 0 8"));
    s.run(*parse("status"));  // which commits, and frees what was replaced
  }
  s.leave();
  EXPECT_EQ(test::findings_in(disk.path()), "");
  EXPECT_THAT(test::dump_of(disk.path(), {.compact = true}), Not(HasSubstr("<writeset era=\"2\"")));
}

// --- Answers

TEST_F(Simulation, AnswersWithWhatACommandDid) {
  open(200000, digestion_mode::manual);
  const auto answer_to = [&](const char* line) {
    run(line);
    return simulation_->answer();
  };
  EXPECT_EQ(answer_to("write 0 8"), "ok: era 1, 1 block marked, 1 commit\n");
  EXPECT_EQ(answer_to("write 0 24"), "ok: era 1, 2 blocks marked, 1 commit\n");
  EXPECT_EQ(answer_to("write 0 24"), "ok: era 1, 0 blocks marked, 0 commits\n");
  EXPECT_EQ(answer_to("message checkpoint"), "ok: era 2, 0 blocks marked, 1 commit\n");
  EXPECT_EQ(answer_to("digest all"), "ok: era 2, 0 blocks marked, 8 steps digested, 1 commit\n");
  EXPECT_EQ(answer_to("suspend"), "ok: suspended, 0 blocks marked, 1 commit\n");
  EXPECT_EQ(answer_to("status"), "");
  EXPECT_EQ(answer_to("table"), "");
  EXPECT_EQ(answer_to("help"), "");
  EXPECT_EQ(printed_.substr(0, 15), "0 1600000 era 8");
}

}  // namespace
}  // namespace era::sim
