// SPDX-License-Identifier: GPL-3.0-or-later
// Validates superblocks, and explains blocks that are none.
#include "era/format/superblock.h"

#include <algorithm>
#include <string_view>

#include "persistent-data/format/array_block.h"

namespace era {
namespace {

using pd::error_class;
using pd::error_detail;

constexpr std::string_view unformatted =
    "it holds only zeros: the device is not formatted yet, or its superblock was wiped; the kernel "
    "would format it anew";

bool starts_with(const pd::block& b, std::string_view text) {
  return std::memcmp(b.bytes.data(), text.data(), text.size()) == 0;
}

std::string_view without_leading_space(const pd::block& b) {
  std::string_view text(reinterpret_cast<const char*>(b.bytes.data()), b.bytes.size());
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

// Collects what is wrong, field by field.
class checker {
 public:
  checker(const superblock& sb, std::uint64_t nr_metadata_blocks)
      : sb_(sb), nr_metadata_blocks_(nr_metadata_blocks) {}

  std::vector<error_detail> check(superblock_copy copy) {
    sizes();
    root("writeset tree", sb_.writeset_tree_root);
    root("era array", sb_.era_array_root);
    if (sb_.writeset_tree_root == sb_.era_array_root)
      add(error_class::cross_linked, "the writeset tree and the era array have the same root");
    era();
    if (copy == superblock_copy::live) live_fields();
    return std::move(errors_);
  }

 private:
  void add(error_class what, std::string detail) { errors_.push_back({what, std::move(detail)}); }

  void sizes() {
    const std::uint32_t flags = sb_.flags, block_size = sb_.data_block_size;
    const std::uint32_t nr_blocks = sb_.nr_blocks;
    if ((flags & ~clean_shutdown) != 0)
      add(error_class::bad_value,
          fmt::format("the flags are {:#x}; only bit 0 has a meaning", flags));
    if (!is_possible_block_size(block_size))
      add(error_class::bad_value,
          fmt::format("the block size is {} sectors; it is a multiple of 8 above 0", block_size));
    if (sb_.metadata_block_size != sectors_per_metadata_block)
      add(error_class::bad_value,
          fmt::format("the metadata block size is {} sectors, not {}",
                      std::uint32_t{sb_.metadata_block_size}, sectors_per_metadata_block));
    if (nr_blocks > max_origin_blocks)
      add(error_class::bad_value,
          fmt::format("{} origin blocks; there can be {}", nr_blocks, max_origin_blocks));
    else if (pd::array_blocks_for(nr_blocks, sizeof(pd::le32)) >= nr_metadata_blocks_)
      add(error_class::bad_value,
          fmt::format("{} origin blocks; an era array of that size does not fit "
                      "into {} metadata blocks",
                      nr_blocks, nr_metadata_blocks_));
  }

  void era() {
    if (sb_.current_era > max_current_era)
      add(error_class::bad_value,
          fmt::format("the current era is {}, after which the kernel would begin era 0",
                      std::uint32_t{sb_.current_era}));
  }

  void live_fields() {
    if (sb_.metadata_snap != 0) root("metadata snapshot", sb_.metadata_snap);
    if (sb_.current_root != 0) {
      root("current writeset", sb_.current_root);
      if (sb_.current_nr_bits > max_origin_blocks)
        add(error_class::bad_value,
            fmt::format("the current writeset has {} bits; there can be {}",
                        std::uint32_t{sb_.current_nr_bits}, max_origin_blocks));
      if (sb_.current_era == 0)
        add(error_class::bad_value, "the current era is 0, and there is a current writeset");
    }
    root("space map index", sb_.space_map.bitmap_root);
    root("space map's tree of large counts", sb_.space_map.ref_count_root);
    if (sb_.space_map.nr_allocated > sb_.space_map.nr_blocks)
      add(error_class::bad_value, fmt::format("the space map has {} blocks, and {} of them in use",
                                              std::uint64_t{sb_.space_map.nr_blocks},
                                              std::uint64_t{sb_.space_map.nr_allocated}));
  }

  void root(std::string_view what, std::uint64_t block) {
    if (block == 0)
      add(error_class::bad_pointer, fmt::format("the {} has no block", what));
    else if (block >= nr_metadata_blocks_)
      add(error_class::bad_pointer,
          fmt::format("the {} is said to be in block {}, and the metadata has {}", what, block,
                      nr_metadata_blocks_));
  }

  const superblock& sb_;
  std::uint64_t nr_metadata_blocks_;
  std::vector<error_detail> errors_;
};

}  // namespace

std::optional<error_detail> validate_superblock(const pd::block& b, pd::block_nr where) {
  const auto& sb = b.as<superblock>();
  if (auto wrong = pd::validate(superblock_kind, b, where)) {
    if (wrong->type == error_class::wrong_place || sb.magic == superblock_magic) return wrong;
    // A foreign block 0 deserves a better answer than its checksum; a snapshot's superblock that
    // was lost among live metadata does not.
    if (where != superblock_location) return wrong;
    if (auto seems = recognize(b)) return error_detail{error_class::wrong_kind, std::move(*seems)};
    if (wrong->type == error_class::bad_checksum)
      wrong->text =
          "neither its magic number nor its checksum is right: this is no era metadata, "
          "or its superblock is destroyed";
    return wrong;
  }
  if (sb.magic != superblock_magic)
    return error_detail{error_class::bad_value,
                        fmt::format("the magic number is {}, not {}: this is no era metadata",
                                    std::uint64_t{sb.magic}, superblock_magic)};
  if (sb.version != superblock_version)
    return error_detail{error_class::bad_value,
                        fmt::format("the metadata has version {}; only version {} is known",
                                    std::uint32_t{sb.version}, superblock_version)};
  return {};
}

std::vector<error_detail> check_superblock(const superblock& sb, std::uint64_t nr_metadata_blocks,
                                           superblock_copy copy) {
  return checker(sb, std::min(nr_metadata_blocks, pd::max_metadata_blocks)).check(copy);
}

bool is_unformatted(const error_detail& f) {
  return f.type == error_class::wrong_kind && f.text == unformatted;
}

std::optional<std::string> recognize(const pd::block& b) {
  const auto& sb = b.as<superblock>();  // thin pools and caches have their magic in the same place
  if (pd::is_zero(b)) return std::string(unformatted);
  if (const auto text = without_leading_space(b);
      text.starts_with("<?xml") || text.starts_with("<superblock") || text.starts_with("<!--"))
    return "it is XML, not binary metadata; era_restore turns XML into metadata";
  if (starts_with(b, "\x1f\x8b")) return "it is compressed (gzip); unpack it first";
  if (starts_with(b,
                  "\xfd"
                  "7zXZ"))
    return "it is compressed (xz); unpack it first";
  if (starts_with(b, "\x28\xb5\x2f\xfd")) return "it is compressed (zstd); unpack it first";
  if (sb.magic == 27022010) return "it is the metadata of a thin pool; see thin_check(8)";
  if (sb.magic == 1623043) return "it is the metadata of a cache; see cache_check(8)";
  return {};
}

}  // namespace era
