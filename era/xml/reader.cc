// SPDX-License-Identifier: GPL-3.0-or-later
// The dialect's grammar over expat; and a way past expat, which would take ten times as long, for
// lines that are written as era_dump writes them.
#include "era/xml/reader.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string_view>

#include <fmt/ranges.h>

#include "era/text/printable.h"
#include "era/xml/plain_line.h"

namespace era::xml {
namespace {

constexpr std::size_t bytes_per_read = 1 << 18;

// Expat holds a token until it is whole.
constexpr std::size_t longest_token = 1 << 20;

// The parser's place in the document. Elements nest at most three deep.
enum class inside { document, superblock, writeset, era_array, leaf, end };

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

// The attributes of one element: each known one once, none else.
class attribute_list {
 public:
  explicit attribute_list(const XML_Char** attributes) : attributes_(attributes) {}

  bool has(std::string_view name) const {
    for (std::size_t i = 0; attributes_[i]; i += 2)
      if (name == attributes_[i]) return true;
    return false;
  }

  std::string_view text(std::string_view name) {
    for (std::size_t i = 0; attributes_[i]; i += 2)
      if (name == attributes_[i]) return attributes_[i + 1];
    throw pd::invalid_input(fmt::format("attribute '{}' is missing", name));
  }

  std::uint64_t number(std::string_view name, std::uint64_t max) {
    const std::string_view digits = text(name);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::result_out_of_range || (error == std::errc() && value > max))
      throw pd::invalid_input(
          fmt::format("{}=\"{}\" is too large; it can be {}", name, printable(digits), max));
    if (error != std::errc() || end != digits.data() + digits.size())
      throw pd::invalid_input(fmt::format("{}=\"{}\" is not a number", name, printable(digits)));
    return value;
  }

  std::uint32_t number32(std::string_view name,
                         std::uint32_t max = std::numeric_limits<std::uint32_t>::max()) {
    return static_cast<std::uint32_t>(number(name, max));
  }

  bool boolean(std::string_view name) {
    const std::string_view word = text(name);
    if (word == "true") return true;
    if (word == "false") return false;
    throw pd::invalid_input(
        fmt::format("{}=\"{}\" is neither true nor false", name, printable(word)));
  }

  // Expat refuses repeated ones.
  void nothing_but(std::initializer_list<std::string_view> known) const {
    for (std::size_t i = 0; attributes_[i]; i += 2)
      if (std::find(known.begin(), known.end(), attributes_[i]) == known.end())
        throw pd::invalid_input(fmt::format(
            "attribute '{}' is not known; known here: {}", printable(attributes_[i]),
            known.size() == 0 ? "none"
                              : fmt::format("{}", fmt::join(known.begin(), known.end(), ", "))));
  }

 private:
  const XML_Char** attributes_;
};

class parser {
 public:
  parser(const std::string& name, document& out, const read_options& options)
      : name_(name),
        out_(out),
        shortcut_(options.way),
        consumed_(options.consumed ? *options.consumed : ignored_),
        expat_(XML_ParserCreate(nullptr), &XML_ParserFree) {
    if (!expat_) throw std::bad_alloc();
    XML_SetUserData(expat_.get(), this);
    XML_SetElementHandler(
        expat_.get(),
        [](void* self, const XML_Char* element, const XML_Char** attributes) {
          static_cast<parser*>(self)->guarded([&](parser& p) {
            p.start(element, attributes);
            p.note_end_of_tag();
          });
        },
        [](void* self, const XML_Char*) {
          static_cast<parser*>(self)->guarded([](parser& p) {
            p.finish();
            p.note_end_of_tag();
          });
        });
    XML_SetCharacterDataHandler(expat_.get(), [](void* self, const XML_Char* text, int size) {
      static_cast<parser*>(self)->guarded([&](parser& p) {
        p.text({text, static_cast<std::size_t>(size)});
      });
    });
    // Entities can make a small file large; this dialect has none.
    XML_SetStartDoctypeDeclHandler(
        expat_.get(), [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
          static_cast<parser*>(self)->guarded([](parser& p) {
            p.element_ = "DOCTYPE";
            throw pd::invalid_input("document type declarations and entities are not accepted");
          });
        });
  }

  void read(const byte_source& source) {
    const auto buffer = std::make_unique<char[]>(bytes_per_read);
    std::size_t have = 0;  // bytes in the buffer
    for (;;) {
      const std::size_t got = source(buffer.get() + have, bytes_per_read - have);
      if (fed_ == 0 && looks_like_utf16({buffer.get() + have, got}))
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
      const std::size_t newline = text.find('\n');
      if (newline == text.npos) {
        if (!all) return text;
        feed(text, false);
        return text.substr(text.size());
      }
      feed(text.substr(0, newline + 1), false);
      text.remove_prefix(newline + 1);
    }
    return text;
  }

  void feed(std::string_view text, bool at_end) {
    fed_ += text.size();
    consumed_ += text.size();
    const bool line_ended = text.ends_with('\n');
    fed_lines_ += count_lines(text);
    after_newline_ = line_ended;
    const auto status = XML_Parse(expat_.get(), text.data(), static_cast<int>(text.size()), at_end);
    if (error_) std::rethrow_exception(error_);
    if (status != XML_STATUS_OK) syntax_error();
    if (fed_ - last_event_ > longest_token)
      throw pd::invalid_input(fmt::format("{}: a tag, text or comment is longer than {} bytes",
                                          position(), longest_token));
  }

  // As expat counts: a carriage return that no newline follows ends a line, too.
  static std::uint64_t count_lines(std::string_view text) {
    std::uint64_t lines = text.ends_with('\n');
    for (auto at = text.find('\r'); at != text.npos; at = text.find('\r', at + 1))
      lines += at + 1 == text.size() || text[at + 1] != '\n';
    return lines;
  }

  // Is expat between elements within a writeset or the era array, with nothing after the last tag
  // but a newline? Then it is all the same to it whether it sees whole elements or not. A comment,
  // for one, would have begun after that newline.
  bool between_lines() const {
    return (where_ == inside::writeset || where_ == inside::era_array) && after_newline_ &&
           fed_ == tag_end_ + 1 && shortcut_ == shortcut::taken;
  }

  std::string_view take_plain_lines(std::string_view text) {
    plain_lines lines(text);
    plain_line line{};
    try {
      if (where_ == inside::writeset)
        for (; lines.of_writeset(line); ++plain_lines_) out_.bits(line.blocks, line.value != 0);
      else
        for (; lines.of_era_array(line); ++plain_lines_) out_.eras(line.blocks, {line.value});
    } catch (const pd::invalid_input& e) {
      throw pd::invalid_input(fmt::format("{}:{}: {}: {}", name_, fed_lines_ + plain_lines_ + 1,
                                          line.element, e.what()));
    }
    if (lines.rest().size() < text.size()) element_ = line.element;
    consumed_ += text.size() - lines.rest().size();
    return lines.rest();
  }

  // Exceptions must not pass through expat.
  template <class Step>
  void guarded(Step step) {
    if (error_) return;
    last_event_ = static_cast<std::uint64_t>(XML_GetCurrentByteIndex(expat_.get()));
    try {
      std::invoke(step, *this);
    } catch (const pd::invalid_input& e) {
      stop(std::make_exception_ptr(
          pd::invalid_input(fmt::format("{}: {}: {}", position(), printable(element_), e.what()))));
    } catch (...) {
      stop(std::current_exception());
    }
  }

  void stop(std::exception_ptr error) {
    error_ = std::move(error);
    XML_StopParser(expat_.get(), XML_FALSE);
  }

  void note_end_of_tag() {
    tag_end_ = last_event_ + static_cast<std::uint64_t>(XML_GetCurrentByteCount(expat_.get()));
  }

  std::string position() const {
    return fmt::format("{}:{}", name_, XML_GetCurrentLineNumber(expat_.get()) + plain_lines_);
  }

  [[noreturn]] void syntax_error() const {
    const XML_Error code = XML_GetErrorCode(expat_.get());
    const bool cut = code == XML_ERROR_NO_ELEMENTS || code == XML_ERROR_UNCLOSED_TOKEN ||
                     code == XML_ERROR_UNCLOSED_CDATA_SECTION || code == XML_ERROR_PARTIAL_CHAR;
    if (cut && where_ != inside::end) {
      if (element_.empty())
        throw pd::invalid_input(
            fmt::format("{}: the file ends before a superblock begins", position()));
      throw pd::invalid_input(
          fmt::format("{}: the file ends here, before </superblock>: it is truncated", position()));
    }
    const char* const what = XML_ErrorString(code);
    const std::string after =
        element_.empty() ? "" : fmt::format(", in or after <{}>", printable(element_));
    throw pd::invalid_input(fmt::format("{}: not well-formed XML: {}{}", position(), what, after));
  }

  void start(const XML_Char* element, const XML_Char** attributes) {
    element_ = element;
    attribute_list list(attributes);
    switch (where_) {
      case inside::document: return in_document(list);
      case inside::superblock: return in_superblock(list);
      case inside::writeset: return in_writeset(list);
      case inside::era_array: return in_era_array(list);
      case inside::leaf: throw pd::invalid_input("it stands inside an element that is empty");
      case inside::end: throw pd::invalid_input("it comes after the superblock");
    }
  }

  void in_document(attribute_list& list) {
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

  void in_superblock(attribute_list& list) {
    if (element_ == "writeset") {
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

  void in_writeset(attribute_list& list) {
    if (element_ == "bit") {
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

  void in_era_array(attribute_list& list) {
    if (element_ == "era") {
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

  origin_range run(attribute_list& list) const {
    const std::uint64_t begin = list.number("block_begin", max_origin_blocks);
    const std::uint64_t len = list.number("len", max_origin_blocks);
    if (len == 0) throw pd::invalid_input("len=\"0\" is no run of blocks");
    return {begin, begin + len};
  }

  void expect(std::string_view element, std::string_view expected) const {
    if (element_ != element)
      throw pd::invalid_input(fmt::format("this element is not known here; expected {}", expected));
  }

  void open_leaf() {
    around_leaf_ = where_;
    where_ = inside::leaf;
  }

  void finish() {
    switch (where_) {
      case inside::leaf: where_ = around_leaf_; return;
      case inside::writeset:
        element_ = "writeset";
        out_.end_writeset();
        where_ = inside::superblock;
        return;
      case inside::era_array:
        element_ = "era_array";
        out_.end_era_array();
        where_ = inside::superblock;
        return;
      default:
        element_ = "superblock";
        out_.end_superblock();
        where_ = inside::end;
    }
  }

  void text(std::string_view text) {
    if (text.find_first_not_of(" \t\r\n") == text.npos) return;
    element_ = "text";
    throw pd::invalid_input("there is text between the elements");
  }

  const std::string& name_;
  document& out_;
  shortcut shortcut_;
  std::uint64_t ignored_ = 0;
  std::uint64_t& consumed_;
  std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> expat_;
  inside where_ = inside::document, around_leaf_ = inside::document;
  std::string element_;
  std::exception_ptr error_;

  // In bytes of what expat was fed: the end, the begin of the last event, the end of the last tag.
  std::uint64_t fed_ = 0, last_event_ = 0, tag_end_ = 0;
  std::uint64_t fed_lines_ = 0, plain_lines_ = 0;  // expat does not know of the plain ones
  bool after_newline_ = false;
};

}  // namespace

void read(const byte_source& source, const std::string& name, document& out,
          const read_options& options) {
  parser(name, out, options).read(source);
}

}  // namespace era::xml
