// SPDX-License-Identifier: GPL-3.0-or-later
// The base of readers of XML dialects that have a root element <superblock>, elements and
// attributes, and nothing else: text between elements, document types and entities are errors. Each
// error names the file, the line and the element.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "era/xml/attribute_list.h"

struct XML_ParserStruct;

namespace era::xml {

class expat_parser {
 public:
  // name: the file's for messages; it must outlive this.
  explicit expat_parser(const std::string& name);
  virtual ~expat_parser();
  expat_parser(const expat_parser&) = delete;
  expat_parser& operator=(const expat_parser&) = delete;

  // Parses the next piece of the document, of any size; at_end: nothing follows it. Throws
  // invalid_input, and all that start_element and finish_element throw. After an exception nothing
  // may be called. Takes up to 1 MiB for a token that is not complete yet.
  void feed(std::string_view text, bool at_end);

 protected:
  // An element begins: element(). May throw; the position is added to an invalid_input. It is
  // neither inside a leaf nor after the superblock: the base refuses such elements.
  virtual void start_element(const attribute_list&) = 0;
  // An element ends that is not a leaf. Calls set_element first if it throws: element() is the one
  // that began last.
  virtual void finish_element() = 0;

  // Makes the element that begins a leaf: it must be empty. Requires a call from start_element.
  void open_leaf() noexcept { in_leaf_ = true; }
  // Returns true from open_leaf() until that element ends.
  bool in_leaf() const noexcept { return in_leaf_; }

  // The element that messages name.
  const std::string& element() const noexcept { return element_; }
  void set_element(std::string_view name) { element_ = name; }
  // Throws invalid_input unless the element has this name. expected: for the message.
  void expect(std::string_view name, std::string_view expected) const;

  // Lines that a derived class has read past expat; it must feed none of them.
  void skip_lines(std::uint64_t count) noexcept { skipped_lines_ += count; }
  void skip_line() noexcept { skip_lines(1); }
  std::uint64_t skipped_lines() const noexcept { return skipped_lines_; }

  // In bytes of what was fed: all of it, and the end of the last tag.
  std::uint64_t fed() const noexcept { return fed_; }
  std::uint64_t end_of_tag() const noexcept { return end_of_tag_; }

  // The line of the current event, from 1.
  std::uint64_t line() const;
  const std::string& name() const noexcept { return name_; }

 private:
  template <class Step>
  void guarded(Step step);
  void begin(const attribute_list&);
  void end();
  void stop(std::exception_ptr);
  void note_end_of_tag();
  void refuse_text(std::string_view);
  std::string position() const;
  [[noreturn]] void fail_syntax() const;

  const std::string& name_;
  std::unique_ptr<XML_ParserStruct, void (*)(XML_ParserStruct*)> expat_;
  std::string element_;
  std::exception_ptr error_;
  std::uint64_t depth_ = 0;
  bool in_leaf_ = false;
  bool is_whole_ = false;  // the root element has ended
  std::uint64_t fed_ = 0, last_event_ = 0, end_of_tag_ = 0, skipped_lines_ = 0;
};

}  // namespace era::xml
