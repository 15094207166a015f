// SPDX-License-Identifier: GPL-3.0-or-later
// Expat calls the handlers; an exception that one throws waits until expat has returned.
#include "era/xml/expat_parser.h"

#include <expat.h>

#include <new>
#include <utility>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "persistent-data/format/errors.h"

namespace era::xml {

namespace pd = persistent_data;

namespace {

// Expat holds a token until it is whole.
constexpr std::size_t longest_token = 1 << 20;

}  // namespace

expat_parser::expat_parser(const std::string& name)
    : name_(name), expat_(XML_ParserCreate(nullptr), &XML_ParserFree) {
  if (!expat_) throw std::bad_alloc();
  XML_SetUserData(expat_.get(), this);
  XML_SetElementHandler(
      expat_.get(),
      [](void* self, const XML_Char* element, const XML_Char** attributes) {
        static_cast<expat_parser*>(self)->guarded([&](expat_parser& p) {
          p.element_ = element;
          p.begin(attribute_list(attributes));
          p.note_end_of_tag();
        });
      },
      [](void* self, const XML_Char*) {
        static_cast<expat_parser*>(self)->guarded([](expat_parser& p) {
          p.end();
          p.note_end_of_tag();
        });
      });
  XML_SetCharacterDataHandler(expat_.get(), [](void* self, const XML_Char* text, int size) {
    static_cast<expat_parser*>(self)->guarded([&](expat_parser& p) {
      p.refuse_text({text, static_cast<std::size_t>(size)});
    });
  });
  // Entities can make a small file large.
  XML_SetStartDoctypeDeclHandler(
      expat_.get(), [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
        static_cast<expat_parser*>(self)->guarded([](expat_parser& p) {
          p.element_ = "DOCTYPE";
          throw pd::invalid_input("document type declarations and entities are not accepted");
        });
      });
}

expat_parser::~expat_parser() = default;

void expat_parser::feed(std::string_view text, bool at_end) {
  fed_ += text.size();
  const auto status = XML_Parse(expat_.get(), text.data(), static_cast<int>(text.size()), at_end);
  if (error_) std::rethrow_exception(error_);
  if (status != XML_STATUS_OK) fail_syntax();
  if (fed_ - last_event_ > longest_token)
    throw pd::invalid_input(fmt::format("{}: a tag, text or comment is longer than {} bytes",
                                        position(), longest_token));
}

void expat_parser::expect(std::string_view name, std::string_view expected) const {
  if (element_ != name)
    throw pd::invalid_input(fmt::format("this element is not known here; expected {}", expected));
}

// Exceptions must not pass through expat.
template <class Step>
void expat_parser::guarded(Step step) {
  if (error_) return;
  last_event_ = static_cast<std::uint64_t>(XML_GetCurrentByteIndex(expat_.get()));
  try {
    step(*this);
  } catch (const pd::invalid_input& e) {
    stop(std::make_exception_ptr(
        pd::invalid_input(fmt::format("{}: {}: {}", position(), printable(element_), e.what()))));
  } catch (...) {
    stop(std::current_exception());
  }
}

void expat_parser::begin(const attribute_list& list) {
  ++depth_;
  if (in_leaf_) throw pd::invalid_input("it stands inside an element that is empty");
  if (is_whole_) throw pd::invalid_input("it comes after the superblock");
  start_element(list);
}

void expat_parser::end() {
  if (!std::exchange(in_leaf_, false)) finish_element();
  is_whole_ = --depth_ == 0;
}

void expat_parser::stop(std::exception_ptr error) {
  error_ = std::move(error);
  XML_StopParser(expat_.get(), XML_FALSE);
}

void expat_parser::note_end_of_tag() {
  end_of_tag_ = last_event_ + static_cast<std::uint64_t>(XML_GetCurrentByteCount(expat_.get()));
}

void expat_parser::refuse_text(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == text.npos) return;
  element_ = "text";
  throw pd::invalid_input("there is text between the elements");
}

std::uint64_t expat_parser::line() const {
  return XML_GetCurrentLineNumber(expat_.get()) + skipped_lines_;
}

std::string expat_parser::position() const { return fmt::format("{}:{}", name_, line()); }

void expat_parser::fail_syntax() const {
  const XML_Error code = XML_GetErrorCode(expat_.get());
  const bool cut = code == XML_ERROR_NO_ELEMENTS || code == XML_ERROR_UNCLOSED_TOKEN ||
                   code == XML_ERROR_UNCLOSED_CDATA_SECTION || code == XML_ERROR_PARTIAL_CHAR;
  if (cut && !is_whole_) {
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

}  // namespace era::xml
