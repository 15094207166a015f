// SPDX-License-Identifier: GPL-3.0-or-later
// The first line that is not empty tells the format. Each later line is split into words; it yields
// a request if it is a write, a discard or a flush of the chosen device.
#include "era/sim/trace.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "era/sim/words.h"
#include "persistent-data/format/block.h"

namespace era::sim {
namespace {

using words = std::vector<std::string_view>;

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

// As blkparse begins a line for an event: MAJOR,MINOR.
bool is_device(std::string_view word) {
  const auto comma = word.find(',');
  return comma != word.npos && is_number(word.substr(0, comma)) &&
         is_number(word.substr(comma + 1));
}

double seconds_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_time = text.find_first_not_of("0123456789.") == text.npos && error == std::errc() &&
                       end == text.data() + text.size();
  if (!is_time) throw pd::invalid_input(fmt::format("'{}' is no time in seconds", printable(text)));
  return value;
}

// blkparse's RWBS: F for a flush before, then the operation, then flags. The operation is 0 for a
// flush alone.
struct rwbs {
  bool flushes_first;
  char operation;
};

rwbs parse_rwbs(std::string_view word) {
  const bool flushes = word.starts_with('F');
  const std::string_view rest = word.substr(flushes ? 1 : 0);
  if (!rest.empty() && std::string_view("RWDN").find(rest[0]) != rest.npos)
    return {flushes, rest[0]};
  if (flushes) return {true, 0};
  throw pd::invalid_input(fmt::format(
      "'{}' is no RWBS; expected: R, W, D or N, with F before it for a flush, and flags after it",
      printable(word)));
}

// fio counts in bytes; partial sectors are rounded up to whole ones.
void set_bytes(traced_request& r, std::uint64_t offset, std::uint64_t length) {
  if (length > std::numeric_limits<std::uint64_t>::max() - offset)
    throw pd::invalid_input(
        fmt::format("offset {} and length {} are together past 2^64 bytes", offset, length));
  const std::uint64_t end = offset + length;
  r.sector = offset / pd::sector_size;
  r.count = end / pd::sector_size + (end % pd::sector_size != 0) - r.sector;
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
  if (line.starts_with("fio version 2 iolog"))
    format_ = format::iolog_2;
  else if (line.starts_with("fio version 3 iolog"))
    format_ = format::iolog_3;
  else if (is_device(words_of(line)[0]))
    format_ = format::blkparse;
  else
    throw pd::invalid_input(
        "this is neither blkparse's text nor a fio iolog of version 2 or 3, which begins with "
        "'fio version 2 iolog'");
}

bool trace_reader::is_of_device(std::string_view name) {
  if (first_.empty()) first_ = name;
  if (!device_.empty()) {
    has_device_ = has_device_ || name == device_;
    return name == device_;
  }
  if (name != first_)
    throw pd::invalid_input(
        fmt::format("the trace has several devices, '{}' and '{}'; choose one with --trace-device",
                    printable(first_), printable(name)));
  return true;
}

void trace_reader::finish() const {
  if (device_.empty() || has_device_) return;
  if (first_.empty())
    throw pd::invalid_input(
        fmt::format("there is no device '{}' in the trace, nor any other", printable(device_)));
  throw pd::invalid_input(fmt::format("there is no device '{}' in the trace; there is '{}'",
                                      printable(device_), printable(first_)));
}

// DEVICE CPU SEQUENCE SECONDS PID ACTION RWBS, and then SECTOR + COUNT [PROCESS]; of a request
// without sectors [PROCESS]; of a packet command BYTES (COMMAND) [PROCESS].
std::optional<traced_request> trace_reader::blkparse(std::string_view line) {
  const words word = words_of(line);
  if (!is_device(word[0])) {
    // The statistics after the last event begin with a line for a CPU, or for the device.
    in_summary_ = in_summary_ || word[0].starts_with("CPU") || word[0] == "Total";
    if (in_summary_) return {};
    throw pd::invalid_input(
        "expected: MAJOR,MINOR CPU SEQUENCE SECONDS PID ACTION RWBS SECTOR + COUNT");
  }
  if (word.size() < 6) throw pd::invalid_input("the line ends before the action");
  // Each request is queued once. It can be issued several times, after requeues.
  if (word[5] != "Q") return {};
  if (word.size() < 7) throw pd::invalid_input("the line ends before RWBS");
  if (!is_of_device(word[0])) return {};
  const rwbs how = parse_rwbs(word[6]);
  traced_request r{.what = traced_request::kind::flush, .seconds = seconds_in(word[3])};
  if (how.operation != 'W' && how.operation != 'D')
    return how.flushes_first ? std::optional(r) : std::nullopt;

  const auto begins = [&](std::size_t i, char c) {
    return word.size() > i && word[i].starts_with(c);
  };
  const bool is_packet =
      word.size() > 8 && is_number(word[7]) && (begins(8, '(') || begins(8, '['));
  if (begins(7, '[') || is_packet) return how.flushes_first ? std::optional(r) : std::nullopt;
  if (word.size() < 10 || word[8] != "+")
    throw pd::invalid_input("expected: SECTOR + COUNT after RWBS, or [PROCESS] of a flush");
  r.what = how.operation == 'D' ? traced_request::kind::discard : traced_request::kind::write;
  r.flushes_first = how.flushes_first;
  r.sector = number_in(word[7], "a sector");
  r.count = number_in(word[9], "a number of sectors");
  if (r.count == 0) throw pd::invalid_input("a number of sectors is above 0");
  return r;
}

// Version 2: FILE ACTION [OFFSET LENGTH]; version 3 has milliseconds before it.
std::optional<traced_request> trace_reader::iolog(std::string_view line) {
  words word = words_of(line);
  if (format_ == format::iolog_3) {
    if (!is_number(word[0]))
      throw pd::invalid_input(fmt::format("'{}' is no time in milliseconds", printable(word[0])));
    waited_ = static_cast<double>(number_in(word[0], "a time in milliseconds")) / 1e3;
    word.erase(word.begin());
  }
  if (word.size() < 2) throw pd::invalid_input("expected: FILE ACTION [OFFSET LENGTH]");
  const std::string_view action = word[1];
  if (action == "wait" && format_ == format::iolog_2) {
    if (word.size() < 3) throw pd::invalid_input("expected: FILE wait MICROSECONDS");
    waited_ += static_cast<double>(number_in(word[2], "a time in microseconds")) / 1e6;
    return {};
  }
  const bool is_ours = is_of_device(word[0]);
  if (action == "add" || action == "open" || action == "close") return {};
  traced_request r{.what = traced_request::kind::flush, .seconds = waited_};
  if (action == "sync" || action == "datasync" || action == "sync_file_range" || action == "syncfs")
    return is_ours ? std::optional(r) : std::nullopt;
  if (action != "read" && action != "write" && action != "trim")
    throw pd::invalid_input(
        fmt::format("'{}' is no action; expected: add, open, close, read, write, trim, "
                    "sync, datasync, sync_file_range, syncfs or wait",
                    printable(action)));
  if (word.size() < 4)
    throw pd::invalid_input(fmt::format("expected: FILE {} OFFSET LENGTH", action));
  r.what = action == "trim" ? traced_request::kind::discard : traced_request::kind::write;
  const std::uint64_t length = number_in(word[3], "a length in bytes");
  set_bytes(r, number_in(word[2], "an offset in bytes"), length);
  if (action == "read" || length == 0 || !is_ours) return {};
  return r;
}

}  // namespace era::sim
