// SPDX-License-Identifier: GPL-3.0-or-later
// The ways in which the corruption sweep damages a block: at random, and field by field with the
// checksum made right again.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "era/testing/block_roles.h"
#include "persistent-data/format/block.h"

namespace era::test {

enum class expectation {
  error,  // a fatal finding
  leak,   // something becomes unreachable and nothing else is wrong: any finding
};

struct mutation {
  std::string_view kind;  // the class that is counted: "bit flip", "node count"
  std::string detail;
  expectation expected = expectation::error;
  // Can it be seen by who reads only what the metadata snapshot reaches?
  bool in_snapshot_alone = true;
  // Does it hide something that a dump of the live metadata would need, or make it another?
  bool dump_refuses = true;
  // Nothing of the block can be used: what it hides is exactly what it covers.
  bool destroys = false;
  pd::block content;  // the block as it is now
};

struct sweep_subject {
  std::span<const pd::block> metadata;
  const used_blocks& roles;
  std::vector<std::uint64_t> free;  // some free blocks
};
sweep_subject make_subject(std::span<const pd::block> metadata, const used_blocks&);

using mutation_visitor = std::function<void(const mutation&)>;

// Calls back for each mutation of the block; those that change nothing are left out.
void mutate(const sweep_subject&, std::uint64_t block, std::mt19937& random,
            const mutation_visitor&);

// For mutate: the cases of one block.
class mutator {
 public:
  mutator(const sweep_subject&, std::uint64_t block, mutation_visitor);

  void at_random(std::mt19937& random);
  void fields();

 private:
  struct options {
    expectation expected = expectation::error;
    bool in_snapshot_alone = true;
    bool dump_refuses = true;
  };
  using change = std::function<void(pd::block&)>;

  void emit(mutation, const pd::block& content);
  void destroy(std::string_view kind, std::string detail, const pd::block& content);
  bool is_dumped() const;
  void emit_prepared(std::string_view kind, std::string detail, const change&, options);
  void emit_prepared(std::string_view kind, std::string detail, const change& how) {
    emit_prepared(kind, std::move(detail), how, options{});
  }
  void set32(std::string_view kind, std::size_t offset, std::initializer_list<std::uint64_t> values,
             options);
  void set32(std::string_view kind, std::size_t offset,
             std::initializer_list<std::uint64_t> values) {
    set32(kind, offset, values, options{});
  }
  void set64(std::string_view kind, std::size_t offset, std::initializer_list<std::uint64_t> values,
             options);
  void set64(std::string_view kind, std::size_t offset,
             std::initializer_list<std::uint64_t> values) {
    set64(kind, offset, values, options{});
  }
  void pointer(std::string_view kind, std::size_t offset, role to, bool briefly = false);
  std::uint64_t get32(std::size_t offset) const;
  std::uint64_t get64(std::size_t offset) const;

  void location();
  void superblock_fields();
  void live_superblock_fields();
  void copied_superblock_fields();
  void space_map_root();
  void node_fields();
  void node_header_fields();
  void node_keys();
  void node_values();
  void array_fields();
  void index_fields();
  void bitmap_fields();

  role role_of_child() const;
  std::uint64_t highest_known_era(bool in_snapshot) const;

  const sweep_subject& subject_;
  const std::uint64_t nr_;
  const used_block& use_;
  const pd::block& original_;
  const mutation_visitor visit_;
  std::uint64_t field_cases_ = 0;
};

}  // namespace era::test
