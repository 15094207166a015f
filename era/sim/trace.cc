// SPDX-License-Identifier: GPL-3.0-or-later
// See trace.h.
#include "era/sim/trace.h"

#include <charconv>

#include <fmt/format.h>

#include "era/sim/words.h"

namespace era::sim {
namespace {

template <class Number>
bool get(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// As blkparse begins a line for an event: MAJOR,MINOR.
bool is_device(std::string_view word) {
  const auto comma = word.find(',');
  unsigned ignored = 0;
  return comma != word.npos && get(word.substr(0, comma), ignored) &&
         get(word.substr(comma + 1), ignored);
}

// fio counts in bytes; sectors that are touched in part are touched.
void set_bytes(traced_request& r, std::uint64_t offset, std::uint64_t length) {
  r.sector = offset / 512;
  r.count = (offset + length + 511) / 512 - r.sector;
}

}  // namespace

std::optional<traced_request> trace_reader::read(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == line.npos) return {};
  if (format_ == format::unknown) {
    recognize(line);
    if (format_ != format::blkparse) return {};
  }
  return format_ == format::blkparse ? blkparse(line) : iolog(line);
}

void trace_reader::recognize(std::string_view line) {
  const auto words = words_of(line);
  if (line.starts_with("fio version 2 iolog"))
    format_ = format::iolog_2;
  else if (line.starts_with("fio version 3 iolog"))
    format_ = format::iolog_3;
  else if (is_device(words[0]))
    format_ = format::blkparse;
  else
    throw bad_trace(
        "this is neither blkparse's text nor a fio iolog of version 2 or 3, which begins with "
        "'fio version 2 iolog'");
}

// DEVICE CPU SEQUENCE SECONDS PID ACTION RWBS SECTOR + COUNT [PROCESS]
std::optional<traced_request> trace_reader::blkparse(std::string_view line) {
  const auto words = words_of(line);
  if (!is_device(words[0])) {
    // The statistics behind the last event begin with a line for a CPU, or for the device.
    summary_ = summary_ || words[0].starts_with("CPU") || words[0] == "Total";
    if (summary_) return {};
    throw bad_trace("expected: MAJOR,MINOR CPU SEQUENCE SECONDS PID ACTION RWBS SECTOR + COUNT");
  }
  if (words.size() < 6) throw bad_trace("the line ends before the action");
  // Each request is queued once, whatever becomes of it then.
  if (words[5] != "Q") return {};
  if (words.size() < 7) throw bad_trace("the line ends before RWBS");
  const bool write = words[6].find('W') != words[6].npos;
  const bool discard = words[6].find('D') != words[6].npos;
  if (!write && !discard) return {};
  traced_request r;
  r.what = discard ? traced_request::kind::discard : traced_request::kind::write;
  if (!get(words[3], r.seconds))
    throw bad_trace(fmt::format("'{}' is no time in seconds", words[3]));
  const bool has_place =
      words.size() >= 10 && words[8] == "+" && get(words[7], r.sector) && get(words[9], r.count);
  if (!has_place) throw bad_trace("expected: SECTOR + COUNT behind RWBS");
  return r;
}

void trace_reader::require_one_file(std::string_view name) {
  if (file_.empty()) file_ = name;
  if (file_ != name)
    throw bad_trace(fmt::format(
        "'{}' is a second file; one can be replayed, and '{}' was the first", name, file_));
}

// Version 2: FILE ACTION [OFFSET LENGTH]; version 3 has milliseconds before it.
std::optional<traced_request> trace_reader::iolog(std::string_view line) {
  auto words = words_of(line);
  traced_request r;
  if (format_ == format::iolog_3) {
    std::uint64_t milliseconds = 0;
    if (!get(words[0], milliseconds))
      throw bad_trace(fmt::format("'{}' is no time in milliseconds", words[0]));
    waited_ = static_cast<double>(milliseconds) / 1e3;
    words.erase(words.begin());
  }
  if (words.size() < 2) throw bad_trace("expected: FILE ACTION [OFFSET LENGTH]");
  const std::string_view action = words[1];
  if (action == "add" || action == "open" || action == "close") {
    require_one_file(words[0]);
    return {};
  }
  std::uint64_t first = 0, second = 0;
  const bool has_first = words.size() > 2 && get(words[2], first);
  const bool has_both = has_first && words.size() > 3 && get(words[3], second);
  if (action == "wait" && format_ == format::iolog_2) {
    if (!has_first) throw bad_trace("expected: FILE wait MICROSECONDS");
    waited_ += static_cast<double>(first) / 1e6;
    return {};
  }
  require_one_file(words[0]);
  r.seconds = waited_;
  if (action == "sync" || action == "datasync") {
    r.what = traced_request::kind::flush;
    return r;
  }
  if (action != "read" && action != "write" && action != "trim")
    throw bad_trace(
        fmt::format("'{}' is no action; expected: add, open, close, read, write, trim, "
                    "sync, datasync or wait",
                    action));
  if (!has_both) throw bad_trace(fmt::format("expected: FILE {} OFFSET LENGTH, in bytes", action));
  if (action == "read") return {};
  r.what = action == "trim" ? traced_request::kind::discard : traced_request::kind::write;
  set_bytes(r, first, second);
  return r;
}

}  // namespace era::sim
