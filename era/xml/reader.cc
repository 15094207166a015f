// SPDX-License-Identifier: GPL-3.0-or-later
// The dialect's grammar over expat; and a way past expat, which would take twenty times as long,
// for lines that are written as era_dump writes them.
#include "era/xml/reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "era/xml/expat_parser.h"
#include "era/xml/plain_line.h"

namespace era::xml {
namespace {

constexpr std::size_t bytes_per_read = 1 << 18;

// The parser's place in the document, without leaves. Elements nest at most three deep.
enum class inside { document, superblock, writeset, era_array };

// "" for none; 01234567-89ab-cdef-0123-456789abcdef; or up to 16 bytes of anything else.
uuid_bytes parse_uuid(std::string_view text) {
  uuid_bytes uuid{};
  std::string digits(text);
  std::erase(digits, '-');
  const bool is_hex = digits.size() == 2 * uuid.size() &&
                      digits.find_first_not_of("0123456789abcdefABCDEF") == digits.npos;
  if (!is_hex && text.size() > uuid.size())
    throw pd::invalid_input(
        fmt::format("uuid=\"{}\" is neither a UUID nor up to 16 bytes", printable(text)));
  if (is_hex)
    for (std::size_t i = 0; i < uuid.size(); ++i)
      std::from_chars(&digits[2 * i], &digits[2 * i] + 2, uuid[i], 16);
  else
    std::copy(text.begin(), text.end(), uuid.begin());
  return uuid;
}

class parser : public expat_parser {
 public:
  parser(const std::string& name, element_sink& out, const read_options& options)
      : expat_parser(name),
        out_(out),
        shortcut_(options.way),
        consumed_(options.consumed ? *options.consumed : ignored_) {}

  void read(const byte_source& source) {
    const auto buffer = std::make_unique<char[]>(bytes_per_read);
    std::size_t have = 0;  // bytes in the buffer
    for (;;) {
      const std::size_t got = source(buffer.get() + have, bytes_per_read - have);
      if (fed() == 0 && looks_like_utf16({buffer.get() + have, got}))
        shortcut_ = shortcut::not_taken;
      have += got;
      const bool all = got == 0 || have == bytes_per_read;
      const std::string_view rest = take({buffer.get(), have}, all);
      std::memmove(buffer.get(), rest.data(), rest.size());
      have = rest.size();
      if (got == 0) break;
    }
    feed("", true);
  }

 private:
  static bool looks_like_utf16(std::string_view begin) {
    return begin.substr(0, 2).find_first_of(std::string_view("\0\xfe\xff", 3)) != begin.npos;
  }

  // Returns what is left: a line without an end, unless all is to be taken.
  std::string_view take(std::string_view text, bool all) {
    while (!text.empty()) {
      if (between_lines()) text = take_plain_lines(text);
      const std::size_t newline = text.find('\n', least_to_feed());
      if (newline == text.npos) {
        if (!all) return text;
        feed_lines(text);
        return text.substr(text.size());
      }
      feed_lines(text.substr(0, newline + 1));
      text.remove_prefix(newline + 1);
    }
    return text;
  }

  // Expat begins anew with a tag or comment that is not complete: if that is long, it is fed no
  // less than it has, or many short lines would take the square of their time.
  std::size_t least_to_feed() const {
    constexpr std::uint64_t is_long = 4096;
    const std::uint64_t pending = fed() - end_of_tag();
    return pending < is_long ? 0 : static_cast<std::size_t>(pending);
  }

  void feed_lines(std::string_view text) {
    consumed_ += text.size();
    after_newline_ = text.ends_with('\n');
    fed_lines_ += count_lines(text);
    feed(text, false);
  }

  // As expat counts: a carriage return that no newline follows ends a line, too; the newline may be
  // the first byte of the next text.
  std::uint64_t count_lines(std::string_view text) {
    auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
    if (std::exchange(after_return_, text.ends_with('\r')) && text.starts_with('\n')) --lines;
    for (auto at = text.find('\r'); at != text.npos; at = text.find('\r', at + 1))
      lines += at + 1 == text.size() || text[at + 1] != '\n';
    return lines;
  }

  // Is expat between two elements of a writeset or of the era array, with only a newline after the
  // last tag? Then expat's state does not change if whole elements are left out. An open comment
  // would have begun after that newline.
  bool between_lines() const {
    return (where_ == inside::writeset || where_ == inside::era_array) && !in_leaf() &&
           after_newline_ && fed() == end_of_tag() + 1 && shortcut_ == shortcut::taken;
  }

  std::string_view take_plain_lines(std::string_view text) {
    plain_lines lines(text);
    plain_line line{};
    try {
      if (where_ == inside::writeset)
        give_all([&] { return lines.of_writeset(line); },
                 [&](origin_range blocks) { out_.bits(blocks, line.value != 0); }, lines, line);
      else
        give_all([&] { return lines.of_era_array(line); },
                 [&](origin_range blocks) { out_.eras(blocks, {line.value}); }, lines, line);
    } catch (const pd::invalid_input& e) {
      throw pd::invalid_input(fmt::format("{}:{}: {}: {}", name(), fed_lines_ + skipped_lines() + 1,
                                          line.element, e.what()));
    }
    if (lines.rest().size() < text.size()) set_element(line.element);
    consumed_ += text.size() - lines.rest().size();
    return lines.rest();
  }

  // Gives the blocks of each line that next() takes. A line whose value is that of the line before
  // may begin a run of lines that are alike.
  template <class Next, class Give>
  void give_all(Next next, Give give, plain_lines& lines, const plain_line& line) {
    for (std::uint32_t before = line.value; next(); before = line.value) {
      give(line.blocks);
      skip_line();
      if (line.value == before) give_alike(line.blocks.end, lines.alike(line), give);
    }
  }

  // Gives these blocks together, or one by one if one of them is refused, so that the error names
  // its line.
  template <class Give>
  void give_alike(std::uint64_t first, std::uint64_t count, Give give) {
    if (count == 0) return;
    try {
      give({first, first + count});
      skip_lines(count);
    } catch (const pd::invalid_input&) {
      for (std::uint64_t b = first; b < first + count; ++b, skip_line()) give({b, b + 1});
    }
  }

  void start_element(const attribute_list& list) override {
    switch (where_) {
      case inside::document: return in_document(list);
      case inside::superblock: return in_superblock(list);
      case inside::writeset: return in_writeset(list);
      case inside::era_array: return in_era_array(list);
    }
  }

  void in_document(const attribute_list& list) {
    expect("superblock", "a superblock");
    list.nothing_but({"uuid", "block_size", "nr_blocks", "current_era"});
    superblock_element sb;
    sb.block_size = list.number32("block_size");
    sb.nr_blocks = list.number32("nr_blocks", max_origin_blocks);
    sb.current_era = {list.number32("current_era")};
    if (list.has("uuid")) sb.uuid = parse_uuid(list.text("uuid"));
    out_.begin_superblock(sb);
    where_ = inside::superblock;
  }

  void in_superblock(const attribute_list& list) {
    if (element() == "writeset") {
      list.nothing_but({"era", "nr_bits"});
      const era_nr era{list.number32("era")};
      const std::uint32_t nr_bits = list.number32("nr_bits", max_origin_blocks);
      out_.begin_writeset(era, nr_bits);
      where_ = inside::writeset;
    } else {
      expect("era_array", "a writeset or an era_array");
      list.nothing_but({});
      out_.begin_era_array();
      where_ = inside::era_array;
    }
  }

  void in_writeset(const attribute_list& list) {
    if (element() == "bit") {
      list.nothing_but({"block", "value"});
      const std::uint64_t block = list.number("block", max_origin_blocks);
      const bool value = list.boolean("value");
      out_.bits({block, block + 1}, value);
    } else {
      expect("marked", "a bit or a marked");
      list.nothing_but({"block_begin", "len"});
      const origin_range blocks = run(list);
      out_.bits(blocks, true);
    }
    open_leaf();
  }

  void in_era_array(const attribute_list& list) {
    if (element() == "era") {
      list.nothing_but({"block", "era"});
      const std::uint64_t block = list.number("block", max_origin_blocks);
      const era_nr era{list.number32("era")};
      out_.eras({block, block + 1}, era);
    } else {
      expect("range", "an era or a range");
      list.nothing_but({"block_begin", "len", "era"});
      const origin_range blocks = run(list);
      const era_nr era{list.number32("era")};
      out_.eras(blocks, era);
    }
    open_leaf();
  }

  origin_range run(const attribute_list& list) const {
    const std::uint64_t begin = list.number("block_begin", max_origin_blocks);
    const std::uint64_t len = list.number("len", max_origin_blocks);
    if (len == 0) throw pd::invalid_input("len=\"0\" is no run of blocks");
    return {begin, begin + len};
  }

  void finish_element() override {
    switch (where_) {
      case inside::writeset:
        set_element("writeset");
        out_.end_writeset();
        where_ = inside::superblock;
        return;
      case inside::era_array:
        set_element("era_array");
        out_.end_era_array();
        where_ = inside::superblock;
        return;
      default: set_element("superblock"); out_.end_superblock();
    }
  }

  element_sink& out_;
  shortcut shortcut_;
  std::uint64_t ignored_ = 0;
  std::uint64_t& consumed_;
  inside where_ = inside::document;
  std::uint64_t fed_lines_ = 0;  // without those that expat does not see
  bool after_newline_ = false, after_return_ = false;
};

}  // namespace

void read(const byte_source& source, const std::string& name, element_sink& out,
          const read_options& options) {
  parser(name, out, options).read(source);
}

}  // namespace era::xml
