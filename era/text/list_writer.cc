// SPDX-License-Identifier: GPL-3.0-or-later
// Formatting for speed: room is asked for once for many lines, and neighbours share most digits.
#include "era/text/list_writer.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "era/text/format_fast.h"

namespace era {
namespace {

namespace pd = persistent_data;

// The longest line: two numbers of up to 20 digits.
constexpr std::size_t max_line = 80;

constexpr std::string_view message_begin = "invalidate_cblocks";

constexpr fixed_text first_of[] = {std::string_view("  <block block=\""),
                                   std::string_view("  <range begin=\"")};
constexpr fixed_text range_end = std::string_view("\" end=\"");
constexpr fixed_text xml_line_end = std::string_view("\"/>\n");
constexpr fixed_text space = std::string_view(" ");
constexpr fixed_text line_end = std::string_view("\n");
constexpr fixed_text json_begin = std::string_view(",\n{\"begin\":");
constexpr fixed_text json_middle = std::string_view(",\"end\":");
constexpr fixed_text json_end = std::string_view("}");

// The end is put in any case and may be overwritten: which kind of line comes next cannot be
// predicted, and a branch would be wrong half of the time.
char* put_xml(char* to, sequential_formatter& number, origin_range r) {
  const bool one = r.size() == 1;
  char* const after_first = number.put(put(to, first_of[one ? 0 : 1]), r.begin);
  char* const after_second = number.put(put(after_first, range_end), r.end);
  return put(one ? after_first : after_second, xml_line_end);
}

char* put_text(char* to, sequential_formatter& number, origin_range r) {
  to = put(number.put(to, r.begin), space);
  return put(number.put(to, r.end), line_end);
}

char* put_json(char* to, sequential_formatter& number, origin_range r) {
  to = number.put(put(to, json_begin), r.begin);
  to = number.put(put(to, json_middle), r.end);
  return put(to, json_end);
}

template <auto put_line>
void put_lines(text_buffer& text, std::span<const origin_range> blocks, std::uint64_t scale,
               std::uint64_t limit) {
  char* to = text.room(blocks.size() * max_line + copy_size);
  sequential_formatter number;
  for (const origin_range& r : blocks)
    to = put_line(to, number, {r.begin * scale, std::min(r.end * scale, limit)});
  text.written_to(to);
}

}  // namespace

void list_writer::begin(text_buffer& text, std::string_view json_fields) const {
  if (format_ == list_format::xml) text.append("<blocks>\n");
  // The second line has the state of a copy that has not begun.
  if (format_ == list_format::ddrescue)
    text.append("# Mapfile of the blocks that changed; + is changed\n0x0 ? 1\n");
  if (format_ != list_format::json) return;
  text.append("{");
  text.append(json_fields);
  text.append(json_fields.empty() ? "\"ranges\":[" : ",\n\"ranges\":[");
}

void list_writer::lines(text_buffer& text, std::span<const origin_range> blocks) {
  switch (format_) {
    case list_format::xml: return put_lines<put_xml>(text, blocks, scale_, limit_);
    case list_format::text: return put_lines<put_text>(text, blocks, scale_, limit_);
    case list_format::json: return put_lines<put_json>(text, blocks, scale_, limit_);
    case list_format::ddrescue:
      for (const origin_range& r : blocks) {
        map_until(text, r.begin * scale_, '?');
        map_until(text, std::min(r.end * scale_, limit_), '+');
      }
      return;
    case list_format::messages:
      for (const origin_range& r : blocks)
        add_to_message(text, {r.begin * scale_, std::min(r.end * scale_, limit_)});
  }
}

void list_writer::map_until(text_buffer& text, std::uint64_t end, char state) {
  if (end <= mapped_) return;
  text.append(fmt::format("{:#x} {:#x} {}\n", mapped_, end - mapped_, state));
  mapped_ = end;
}

void list_writer::add_to_message(text_buffer& text, origin_range r) {
  const std::string argument =
      r.size() == 1 ? fmt::format(" {}", r.begin) : fmt::format(" {}-{}", r.begin, r.end);
  if (message_size_ + argument.size() > max_message) {
    text.append("\n");
    message_size_ = 0;
  }
  if (message_size_ == 0) {
    text.append(message_begin);
    message_size_ = message_begin.size();
  }
  text.append(argument);
  message_size_ += argument.size();
}

void list_writer::end(text_buffer& text) {
  if (format_ == list_format::xml) text.append("</blocks>\n");
  if (format_ == list_format::json) text.append("\n]}\n");
  if (format_ == list_format::ddrescue) map_until(text, limit_, '?');
  if (format_ == list_format::messages && message_size_ > 0) text.append("\n");
}

}  // namespace era
