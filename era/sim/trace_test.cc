// SPDX-License-Identifier: GPL-3.0-or-later
// Traces of both kinds, line by line.
#include "era/sim/trace.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace era::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string in_words(const traced_request& r) {
  std::string text = fmt::format("{} ", r.seconds);
  if (r.flushes_first) text += "flush and ";
  switch (r.what) {
    case traced_request::kind::write: text += "write"; break;
    case traced_request::kind::discard: text += "discard"; break;
    case traced_request::kind::flush: return text + "flush";
  }
  return text + fmt::format(" {}+{}", r.sector, r.count);
}

using lines = std::vector<std::string>;

// The requests of the lines, and in the end an error's message.
lines read(const lines& trace, std::string device = {}) {
  trace_reader reader(std::move(device));
  lines result;
  try {
    for (const std::string& line : trace)
      if (const auto request = reader.read(line)) result.push_back(in_words(*request));
    reader.finish();
  } catch (const pd::invalid_input& e) {
    result.emplace_back(e.what());
  }
  return result;
}

// A line of blkparse from the action on.
std::string event(const std::string& rest, const std::string& device = "8,0",
                  const std::string& seconds = "0.5") {
  return fmt::format("  {}    1       49     {}   697  {}", device, seconds, rest);
}

lines read_event(const std::string& rest) { return read({event(rest)}); }

// --- blkparse

TEST(Blkparse, WritesAndDiscards) {
  EXPECT_THAT(read_event("Q   W 640 + 8 [kjournald]"), ElementsAre("0.5 write 640+8"));
  for (const char* rwbs : {"WS", "WM", "WSM", "WFS", "WF", "WA", "WB"})
    EXPECT_THAT(read_event(fmt::format("Q {} 640 + 8 [dd]", rwbs)), ElementsAre("0.5 write 640+8"))
        << rwbs;
  for (const char* rwbs : {"D", "DS", "DSM", "DE"})
    EXPECT_THAT(read_event(fmt::format("Q {} 640 + 8 [fstrim]", rwbs)),
                ElementsAre("0.5 discard 640+8"))
        << rwbs;
}

TEST(Blkparse, WhatChangesNothing) {
  for (const char* rwbs : {"R", "RA", "RM", "RS", "RSM", "N", "NS"})
    EXPECT_THAT(read_event(fmt::format("Q {} 640 + 8 [cat]", rwbs)), IsEmpty()) << rwbs;
  EXPECT_THAT(read_event("Q  WS [dd]"), IsEmpty());
}

TEST(Blkparse, Flushes) {
  for (const char* rwbs : {"FWS", "FW", "FN", "FF", "F", "FS", "FFS"})
    EXPECT_THAT(read_event(fmt::format("Q {} [jbd2/sda1-8]", rwbs)), ElementsAre("0.5 flush"))
        << rwbs;
  EXPECT_THAT(read_event("Q FWFSM 12800 + 8 [dd]"), ElementsAre("0.5 flush and write 12800+8"));
  EXPECT_THAT(read_event("Q FWS 12800 + 8 [Web Content]"),
              ElementsAre("0.5 flush and write 12800+8"));
}

TEST(Blkparse, PacketCommandsHaveBytesAndNoSector) {
  for (const char* rest : {"Q   N 0 (12 00 00 00 24 00 ..) [smartd]", "Q   R 36 (12 01) [smartd]",
                           "Q   W 24 (15 10 00 00 18 00) [hdparm]", "Q   W 24 [hdparm]"})
    EXPECT_THAT(read_event(rest), IsEmpty()) << rest;
}

TEST(Blkparse, ARequestIsCountedWhenItIsQueued) {
  EXPECT_THAT(
      read({event("Q   W 640 + 8 [dd]"), event("G   W 640 + 8 [dd]"), event("P   N [dd]"),
            event("I   W 640 + 8 [dd]"), event("U   N [dd] 1"), event("D   W 640 + 8 [kworker]"),
            event("R   W 640 + 8 [0]"), event("I   W 640 + 8 [dd]"),
            event("D   W 640 + 8 [kworker]"), event("C   W 640 + 8 [0]"),
            event("M   W 648 + 8 [dd]"), event("X   W 640 / 648 [dd]"),
            event("A   W 640 + 8 <- (8,1) 576"), event("m   N cfq workload slice:300")}),
      ElementsAre("0.5 write 640+8"));
}

TEST(Blkparse, TheStatisticsAreTheEnd) {
  EXPECT_THAT(
      read({event("Q   W 640 + 8 [dd]"), "CPU3 (8,0):", " Reads Queued:           1,        4KiB",
            "", "Total (8,0):", "Throughput (R/W): 0KiB/s / 4KiB/s"}),
      ElementsAre("0.5 write 640+8"));
  EXPECT_THAT(read({event("Q   W 640 + 8 [dd]"), "hello"}),
              ElementsAre("0.5 write 640+8", HasSubstr("expected: MAJOR,MINOR CPU")));
}

TEST(Blkparse, BadLines) {
  for (const auto& [line, expected] : std::vector<std::pair<std::string, std::string>>{
           {"8,0 3 2 0.1 697", "the line ends before the action"},
           {"8,0 3 2 0.1 697 Q", "the line ends before RWBS"},
           {event("Q W"), "expected: SECTOR + COUNT"},
           {event("Q W 8"), "expected: SECTOR + COUNT"},
           {event("Q W 8 +"), "expected: SECTOR + COUNT"},
           {event("Q W 8 - 8 [dd]"), "expected: SECTOR + COUNT"},
           {event("Q W x + 8 [dd]"), "'x' is no number; a sector is expected"},
           {event("Q W 8 + -8 [dd]"), "'-8' is no number; a number of sectors is expected"},
           {event("Q W 8 + 0 [dd]"), "a number of sectors is above 0"},
           {event("Q W 18446744073709551616 + 8 [dd]"), "'18446744073709551616' is too large"},
           {event("Q X 8 + 8 [dd]"), "'X' is no RWBS"},
           {event("Q \x1b[2J 8 + 8 [dd]"), "'?[2J' is no RWBS"},
           {event("Q W 8 + 8 [dd]", "8,0", "x"), "'x' is no time"},
           {event("Q W 8 + 8 [dd]", "8,0", "inf"), "'inf' is no time"},
           {event("Q W 8 + 8 [dd]", "8,0", "nan"), "'nan' is no time"},
           {event("Q W 8 + 8 [dd]", "8,0", "-1"), "'-1' is no time"},
           {event("Q W 8 + 8 [dd]", "8,0", "1e5"), "'1e5' is no time"},
           {event("Q W 8 + 8 [dd]", "8,0", std::string(400, '9')), "is no time"}})
    EXPECT_THAT(read({line}), ElementsAre(HasSubstr(expected))) << line;
}

TEST(Blkparse, SeveralDevicesAreNeverMixed) {
  const lines trace = {event("Q W 8 + 8 [dd]", "8,0"), event("C W 8 + 8 [0]", "8,32"),
                       event("Q W 16 + 8 [dd]", "8,16"), event("Q W 24 + 8 [dd]", "8,0")};
  EXPECT_THAT(read(trace),
              ElementsAre("0.5 write 8+8",
                          "the trace has several devices, '8,0' and '8,16'; choose one with "
                          "--trace-device"));
  EXPECT_THAT(read(trace, "8,0"), ElementsAre("0.5 write 8+8", "0.5 write 24+8"));
  EXPECT_THAT(read(trace, "8,16"), ElementsAre("0.5 write 16+8"));
  EXPECT_THAT(read(trace, "8,1"),
              ElementsAre("there is no device '8,1' in the trace; there is '8,0'"));
  EXPECT_THAT(read({}, "8,1"), ElementsAre("there is no device '8,1' in the trace, nor any other"));
  // Also if one of them is only read.
  EXPECT_THAT(read({event("Q R 8 + 8 [dd]", "8,0"), event("Q W 8 + 8 [dd]", "8,16")}),
              ElementsAre(HasSubstr("several devices")));
}

// --- fio

lines read_fio(const std::string& line) { return read({"fio version 2 iolog", line}); }

TEST(Iolog, Version2) {
  EXPECT_THAT(
      read({"fio version 2 iolog", "f add", "f open", "f write 327680 4096", "f read 0 4096",
            "f wait 1500000", "f trim 6553600 65536", "f sync", "f datasync 0 0",
            "f sync_file_range 0 4096", "f syncfs", "f write 65535 2", "f close"}),
      ElementsAre("0 write 640+8", "1.5 discard 12800+128", "1.5 flush", "1.5 flush", "1.5 flush",
                  "1.5 flush", "1.5 write 127+2"));
}

TEST(Iolog, Version3) {
  EXPECT_THAT(read({"fio version 3 iolog", "0 f add", "1 f write 327680 4096",
                    "1501 f sync_file_range 0 0", "08 f write 0 1"}),
              ElementsAre("0.001 write 640+8", "1.501 flush", "0.008 write 0+1"));
  EXPECT_THAT(read({"fio version 3 iolog", "f write 1 1"}),
              ElementsAre("'f' is no time in milliseconds"));
}

TEST(Iolog, AnEmptyRequestTouchesNothing) {
  EXPECT_THAT(read_fio("f write 100 0"), IsEmpty());
  EXPECT_THAT(read_fio("f trim 512 0"), IsEmpty());
}

TEST(Iolog, NumbersAtTheirEnds) {
  EXPECT_THAT(read_fio("f write 18446744073709551614 1"),
              ElementsAre("0 write 36028797018963967+1"));
  EXPECT_THAT(read_fio("f write 0 18446744073709551615"),
              ElementsAre("0 write 0+36028797018963968"));
  EXPECT_THAT(read_fio("f write 18446744073709551615 2"),
              ElementsAre("offset 18446744073709551615 and length 2 are together past 2^64 bytes"));
  EXPECT_THAT(read_fio("f trim 512 18446744073709551615"),
              ElementsAre(HasSubstr("together past 2^64 bytes")));
  EXPECT_THAT(read_fio("f write 18446744073709551616 1"),
              ElementsAre(HasSubstr("'18446744073709551616' is too large; an offset in bytes")));
  EXPECT_THAT(read_fio("f wait 18446744073709551616"), ElementsAre(HasSubstr("is too large")));
}

TEST(Iolog, BadLines) {
  for (const auto& [line, expected] : std::vector<std::pair<std::string, std::string>>{
           {"f", "expected: FILE ACTION"},
           {"f write 1", "expected: FILE write OFFSET LENGTH"},
           {"f write 0x10 1", "'0x10' is no number; an offset in bytes is expected"},
           {"f write 0 -1", "'-1' is no number; a length in bytes is expected"},
           {"f wait", "expected: FILE wait MICROSECONDS"},
           {"f wait soon", "'soon' is no number"},
           {"f dance 1 1", "'dance' is no action"},
           {"f \x1b[2J 1 1", "'?[2J' is no action"}})
    EXPECT_THAT(read_fio(line), ElementsAre(HasSubstr(expected))) << line;
}

TEST(Iolog, SeveralFilesAreNeverMixed) {
  const lines trace = {"fio version 2 iolog", "a add",           "b add",  "a write 0 512",
                       "b wait 1000000",      "b write 512 512", "b sync", "a write 1024 512"};
  EXPECT_THAT(read(trace),
              ElementsAre("the trace has several devices, 'a' and 'b'; choose one with "
                          "--trace-device"));
  EXPECT_THAT(read(trace, "a"), ElementsAre("0 write 0+1", "1 write 2+1"));
  EXPECT_THAT(read(trace, "b"), ElementsAre("1 write 1+1", "1 flush"));
  EXPECT_THAT(read(trace, "c"), ElementsAre("there is no device 'c' in the trace; there is 'a'"));
  // A line that is wrong is wrong, whatever its file.
  EXPECT_THAT(read({"fio version 2 iolog", "b write x 1"}, "a"), ElementsAre(HasSubstr("'x'")));
}

TEST(Trace, IsRecognized) {
  EXPECT_THAT(read({"", "  ", "once upon a time"}),
              ElementsAre(HasSubstr("neither blkparse's text nor a fio iolog")));
  EXPECT_THAT(read({"fio version 1 iolog"}), ElementsAre(HasSubstr("neither")));
  EXPECT_THAT(read({"8,x 1 2"}), ElementsAre(HasSubstr("neither")));
}

}  // namespace
}  // namespace era::sim
