#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# Metadata that a real kernel wrote: it is whole, and says what was written.
load helpers

# agree DUMP NAME [snapshot]: a dump's era array with what was written.
agree() {
  diff <(truth "${@:2}") <(ranges_of_dump <"$1") || fail "$1 differs from the truth (<)"
}

@test "every image is clean" {
  for name in "${images[@]}"; do
    image "$name"
    run -0 --separate-stderr era_check "$name.img"
    [[ ${lines[-1]} = 'found: nothing wrong' ]] || fail "$name: $output"
    [[ -z $stderr ]] || fail "$name: $stderr"
  done
}

@test "the logical dump of every image says what was written" {
  for name in "${images[@]}"; do
    image "$name"
    era_dump --logical "$name.img" >"$name.xml"
    agree "$name.xml" "$name"
    [[ $(grep -c '^    <era block=' "$name.xml") = "$(superblock "$name.img" nr_blocks)" ]]
    [[ $(grep -c writeset "$name.xml") = 0 ]]
  done
}

@test "the compact logical dump says the same" {
  for name in "${images[@]}"; do
    image "$name"
    era_dump --logical --compact "$name.img" >"$name.xml"
    agree "$name.xml" "$name"
    # The runs end where the device does.
    last=$(sed -n 's/.*block_begin="\([0-9]*\)" len="\([0-9]*\)".*/\1 \2/p' "$name.xml" | tail -n 1)
    [[ $((${last% *} + ${last#* })) = "$(superblock "$name.img" nr_blocks)" ]]
  done
}

@test "the metadata snapshot says what was written when it was taken" {
  image snap-live
  for option in '' --compact; do
    era_dump --logical --metadata-snapshot $option snap-live.img >snapshot.xml
    agree snapshot.xml snap-live snapshot
  done
  [[ $(truth snap-live snapshot) != "$(truth snap-live)" ]]
}

# A plain dump has the same in two places.
@test "the plain dump's writesets and era array, folded by hand, say what was written" {
  for name in crash full reopened; do
    image "$name"
    era_dump "$name.img" >"$name.xml"
    era_dump --compact "$name.img" >"$name.compact.xml"
    for dump in "$name.xml" "$name.compact.xml"; do
      folded=$(awk -F'"' '
        /<writeset/ { era = $2 }
        /<bit .*"true"/ { newest[$2] = era }
        /<marked/ { for (b = $2; b < $2 + $4; ++b) newest[b] = era }
        /<era / { see($2, 1, $4) }
        /<range/ { see($2, $4, $6) }
        function see(b, len, e) {
          for (; len > 0; --len) { print b, b + 1, (b in newest && newest[b] > e ? newest[b] : e); ++b }
        }' "$dump" | awk '$3 > 0' | joined)
      same "$(truth "$name")" "$folded"
    done
  done
}

@test "dumps are byte for byte what thin-provisioning-tools print" {
  for name in "${images[@]}"; do
    # 1.1.0 prints an era for block 2036, which the kernel cut off.
    [[ $name != shrunk ]] || continue
    image "$name"
    for option in plain --logical; do
      expected=$(awk -v n="$name" -v o=$option '$2 == n && $3 == o { print $1 }' \
        "$tests/peer-dumps.sha256")
      [[ ${#expected} = 64 ]] || fail "no sum for $name $option"
      actual=$(era_dump ${option/plain/} "$name.img" | sha256sum)
      [[ ${actual%% *} = "$expected" ]] || fail "$name $option differs"
    done
  done
}

# The kernel's own answer about the space it has used, as its last status line gives it.
@test "as many blocks are in use as the kernel said" {
  compared=0
  for name in "${images[@]}"; do
    used=$(sed -n '$s,^S .* era 8 \([0-9]*\)/.*,\1,p' "$tests/kernel-images/$name.log")
    [[ -n $used ]] || continue
    image "$name"
    run -0 era_check "$name.img"
    [[ ${lines[0]} = *", $used in use" ]] || fail "$name: ${lines[0]}, and the kernel said $used"
    compared=$((compared + 1))
  done
  ((compared >= 2))
}
