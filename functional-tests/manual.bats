#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# The manual says what the programs do: the same options, the same words, the same output.
load helpers

top=$tests/..

# Every command that era_tools has, and no other.
commands() { era_tools --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'; }

# options_in_help COMMAND, options_in_page COMMAND, options_in_synopsis COMMAND: one a line, sorted.
options_in_help() {
  "era_$1" --help | sed -n '/^Options:/,$s/^  \(-[^ ]*\).*/\1/p' | tr , '\n' | sort
}
flags() {
  grep -o 'Fl [^ ]*' | sed 's/^Fl /-/' | sort -u
}
options_in_page() { grep '^\.It Fl ' "$top/man8/era_$1.8" | flags; }
options_in_synopsis() {
  sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$top/man8/era_$1.8" |
    sed 's/Fl \([a-zA-Z]\) | \([a-zA-Z]\)/Fl \1 Fl \2/' | flags
}

@test "there are commands, and each has a page" {
  [[ $(commands | wc -l) -ge 2 ]]
  for c in $(commands); do
    [[ -f $top/man8/era_$c.8 ]] || fail "no page for era_$c"
    grep -qx "\.Dt ERA_${c^^} 8" "$top/man8/era_$c.8"
  done
}

@test "help and page name the same options" {
  for c in $(commands); do
    [[ $(options_in_help "$c" | wc -l) -gt 4 ]]
    same "$(options_in_help "$c")" "$(options_in_page "$c")" ||
      fail "era_$c: help (<) and page (>) differ"
  done
}

# Where an option has a short name, the synopsis gives that.
@test "the synopsis names every option" {
  for c in $(commands); do
    expected=$(grep '^\.It Fl ' "$top/man8/era_$c.8" | sed 's/ ,.*//' | flags)
    same "$expected" "$(options_in_synopsis "$c")" || fail "era_$c: list (<) and synopsis (>) differ"
  done
}

@test "the option for tests is in neither" {
  for c in $(commands); do
    run ! grep -e --io-engine <(era_"$c" --help) "$top/man8/era_$c.8"
    run ! grep -e -io-engine "$top/man8/era_$c.8"
  done
}

@test "every class of finding has its paragraph" {
  classes=$(sed -n 's/^ *return {"\([a-z-]*\)",.*/\1/p' \
    "$top/persistent-data/format/error_class.h" | sort)
  [[ $(wc -l <<<"$classes") -ge 13 ]]
  same "$classes" "$(sed -n 's/^\.It Cm \([a-z-]*\)$/\1/p' "$top/man8/era_check.8" | sort)"
}

@test "every field of the JSON document is in the page, and no other" {
  command -v jq >/dev/null || skip 'needs jq'
  image snap-live
  zero_block snap-live.img "$(array_block snap-live.img 1)"
  run era_check --json snap-live.img
  # Names of the fields that hold a range differ by its unit.
  fields=$(jq -r '[paths | map(select(type == "string")) | .[]] | unique[]' <<<"$output" |
    grep -v -x -e begin -e end -e eras -e origin_blocks -e counts_of_metadata_blocks)
  page=$(sed -n '/^\.Sh JSON/,/^\.Sh EXIT/{s/^\.It Va //p}' "$top/man8/era_check.8" |
    tr -d ' ' | tr , '\n')
  same "$(sort -u <<<"$fields")" "$(grep -v -x origin_blocks <<<"$page" | sort -u)"
  for word in begin end eras origin_blocks counts_of_metadata_blocks; do
    grep -qw "$word" "$top/man8/era_check.8" || fail "no $word"
  done
}

# In the examples a command follows a "$ ", and what it prints follows it. The files that they show
# are made first.
@test "the examples print what the pages say" {
  image crash snap-live
  for c in $(commands); do
    page=$top/man8/era_$c.8
    sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/{/^\.Bd/,/^\.Ed/p}' "$page" | sed -e 's/\\e/\\/g' \
      -e '/^\.Bd.*-offset/,/^\.Ed/d' -e '/^\.[BE]d/d' >expected
    [[ $(grep -c '^\$ ' expected) -ge 2 ]] || fail "$page: no examples"
    sed -n '/^\$ cat cache.xml$/,/^\$ era_/{/^\$/!p}' expected >cache.xml
    if grep -q '| jq' expected && ! command -v jq >/dev/null; then skip 'needs jq'; fi
    while IFS= read -r line; do
      [[ $line = '$ '* ]] || continue
      printf '%s\n' "$line"
      LC_ALL=C bash -c "${line#'$ '}" 2>&1 || true
    done <expected >actual
    diff expected actual || fail "$page differs from the programs (>)"
  done
}

@test "mandoc finds nothing wrong with the pages" {
  command -v mandoc >/dev/null || skip 'needs mandoc'
  for c in $(commands); do
    run -0 mandoc -T lint -W warning "$top/man8/era_$c.8"
    [[ $(mandoc "$top/man8/era_$c.8" | wc -l) -gt 50 ]]
  done
}
