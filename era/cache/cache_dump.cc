// SPDX-License-Identifier: GPL-3.0-or-later
// The grammar of cache_dump over expat. Cache blocks ascend, so that one which comes twice is seen
// at once. Volume blocks come in any order, so they are sorted at the end.
#include "era/cache/cache_dump.h"

#include <memory>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "era/cache/repeated_block.h"
#include "era/text/printable.h"
#include "era/xml/expat_parser.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

constexpr std::size_t bytes_per_read = 1 << 18;

// The parser's place in the document, without leaves.
enum class inside { document, superblock, mappings, hints };

class dump_parser : public xml::expat_parser {
 public:
  dump_parser(const std::string& name, cache_mapping_sink& out) : expat_parser(name), out_(out) {}

  void read(const xml::byte_source& source) {
    const auto buffer = std::make_unique<char[]>(bytes_per_read);
    while (const std::size_t got = source(buffer.get(), bytes_per_read))
      feed({buffer.get(), got}, false);
    feed("", true);
    if (const auto twice = volume_blocks_.find())
      throw pd::invalid_input(
          fmt::format("{}:{}: mapping: origin_block=\"{}\" is in the mapping of line {}, too",
                      name(), twice->line, twice->block, twice->first_line));
  }

 private:
  void start_element(const xml::attribute_list& list) override {
    switch (where_) {
      case inside::document: return in_document(list);
      case inside::superblock: return in_superblock(list);
      case inside::mappings: return in_mappings(list);
      case inside::hints: return in_hints(list);
    }
  }

  void in_document(const xml::attribute_list& list) {
    expect("superblock", "a superblock");
    list.nothing_but({"uuid", "block_size", "nr_cache_blocks", "policy", "hint_width"});
    list.text("uuid");
    list.text("policy");
    list.number32("hint_width");
    cache_.block_size = list.number32("block_size", max_cache_block_size);
    if (cache_.block_size == 0 || cache_.block_size % cache_block_unit != 0)
      throw pd::invalid_input(fmt::format("block_size=\"{}\" is not a multiple of {} above 0",
                                          cache_.block_size, cache_block_unit));
    cache_.nr_blocks = list.number32("nr_cache_blocks");
    out_.begin(cache_);
    where_ = inside::superblock;
  }

  void in_superblock(const xml::attribute_list& list) {
    if (!has_mappings_) {
      expect("mappings", "the mappings");
      has_mappings_ = true;
      where_ = inside::mappings;
    } else {
      expect("hints", "the hints");
      if (has_hints_) throw pd::invalid_input("there are hints already");
      has_hints_ = true;
      where_ = inside::hints;
    }
    list.nothing_but({});
    last_cache_block_.reset();
  }

  void in_mappings(const xml::attribute_list& list) {
    expect("mapping", "a mapping");
    list.nothing_but({"cache_block", "origin_block", "dirty"});
    const std::uint32_t cache_block = next_cache_block(list);
    const std::uint64_t volume_block =
        list.number("origin_block", max_volume_sectors / cache_.block_size - 1);
    const bool is_dirty = list.boolean("dirty");
    volume_blocks_.add(volume_block, line());
    out_.add({cache_block, volume_block, is_dirty});
    open_leaf();
  }

  // Hints are for the cache's policy. The answer does not depend on them.
  void in_hints(const xml::attribute_list& list) {
    expect("hint", "a hint");
    list.nothing_but({"cache_block", "data"});
    next_cache_block(list);
    if (list.text("data").find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                            "0123456789+/=") != std::string_view::npos)
      throw pd::invalid_input(
          fmt::format("data=\"{}\" is not base64", printable(list.text("data"))));
    open_leaf();
  }

  std::uint32_t next_cache_block(const xml::attribute_list& list) {
    const std::uint32_t block = list.number32("cache_block");
    if (block >= cache_.nr_blocks)
      throw pd::invalid_input(fmt::format("cache_block=\"{}\" is not below nr_cache_blocks=\"{}\"",
                                          block, cache_.nr_blocks));
    if (last_cache_block_ && block <= *last_cache_block_)
      throw pd::invalid_input(fmt::format("cache_block=\"{}\" comes after {}; they must ascend",
                                          block, *last_cache_block_));
    last_cache_block_ = block;
    return block;
  }

  void finish_element() override {
    switch (where_) {
      case inside::mappings:
      case inside::hints: where_ = inside::superblock; return;
      default: break;
    }
    set_element("superblock");
    if (!has_mappings_) throw pd::invalid_input("it has no mappings");
  }

  cache_mapping_sink& out_;
  cache_geometry cache_;
  inside where_ = inside::document;
  bool has_mappings_ = false, has_hints_ = false;
  std::optional<std::uint32_t> last_cache_block_;
  repeated_block volume_blocks_;
};

}  // namespace

void read_cache_dump(const xml::byte_source& source, const std::string& name,
                     cache_mapping_sink& out) {
  dump_parser(name, out).read(source);
}

}  // namespace era
