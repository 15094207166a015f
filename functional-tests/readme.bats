#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# README's commands print what README says.
load helpers

readme=$tests/../README.md

# compare EXPECTED ACTUAL: two files; a line "…" in the first stands for any lines.
compare() {
  local before after
  if ! grep -qx '…' "$1"; then
    diff "$1" "$2"
    return
  fi
  before=$(sed '/^…$/,$d' "$1" | wc -l)
  after=$(sed '1,/^…$/d' "$1" | wc -l)
  diff <(head -n "$before" "$1") <(head -n "$before" "$2") &&
    diff <(tail -n "$after" "$1") <(tail -n "$after" "$2")
}

@test "README's examples print what it says" {
  ln -s "$tests" functional-tests
  # One file a command, cmd.1, cmd.2, ..., and what it prints in out.1, out.2, ...
  awk '
    !/^    / { in_block = 0; next }
    { line = substr($0, 5) }
    line ~ /^\$ / { n++; line = substr(line, 3); in_block = 1; goes_on = 1 }
    !in_block { next }
    goes_on { print line >("cmd." n); printf "" >("out." n); goes_on = line ~ /[|\\]$/; next }
    { print line >("out." n) }' "$readme"
  [[ -e cmd.12 ]] || fail 'README has fewer examples than it had'
  for ((i = 1; ; ++i)); do
    [[ -e cmd.$i ]] || break
    ! grep -q '^export PATH=' cmd.$i || continue # the programs under test are found already
    LC_ALL=C bash ./cmd.$i >actual 2>&1 || true
    ! grep -q '^printf' cmd.$i || continue # its summary has a speed
    compare out.$i actual || fail "$(cat cmd.$i): README (<) and the programs (>) differ"
  done
}
