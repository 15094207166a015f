#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_check: what it says of damage, where it says it, and with which exit status.
load helpers

# finds KIND PART FILE [OPTION...]: status 1, and a finding of that class in that part, as text and as
# JSON.
finds() {
  local kind=$1 part=$2 file=$3
  run -1 --separate-stderr era_check "${@:4}" "$file"
  [[ $stderr = "era_check: $file: metadata block"* ]] || fail "$stderr"
  [[ $output = *'found: '* && $output != *'nothing wrong'* ]] || fail "$output"
  if command -v jq >/dev/null; then
    run -1 --separate-stderr era_check --json "${@:4}" "$file"
    [[ -z $stderr ]] || fail "$stderr"
    jq -e --arg kind "$kind" --arg part "$part" \
      '.findings | any(.kind == $kind and .part == $part)' <<<"$output" >/dev/null ||
      fail "no $kind in $part: $output"
  fi
}

# --- What it says.

@test "a block in the middle that is zeros: the block and its origin blocks are named exactly" {
  image full
  # Era array block 100 has the eras of origin blocks 100 * 1018 and on.
  where=$(array_block full.img 100)
  zero_block full.img "$where"
  run -1 --separate-stderr era_check full.img
  same "era_check: full.img: metadata block $where: era array: the block holds only zeros; when origin blocks 101800 to 102817 were last written is unknown" "$stderr"
  [[ $output = *$'\nfound: 1 error, 0 leaks\nnext: do not activate the device; keep a copy of it, and let era_repair write repaired metadata to a new device, where the blocks named above count as written' ]]
}

@test "a lost bitset: the era and its origin blocks are named exactly" {
  image crash
  where=$(peek crash.img "$(pointer_to crash.img "$(superblock crash.img current_root)" 0)" 8)
  zero_block crash.img "$where"
  run -1 --separate-stderr era_check crash.img
  same "era_check: crash.img: metadata block $where: current writeset (era 3): the block holds only zeros; which of origin blocks 0 to 2047 were written in era 3 is unknown" "$stderr"
}

@test "a lost writeset tree: every era is in doubt" {
  image clean
  where=$(superblock clean.img writeset_tree_root)
  zero_block clean.img "$where"
  run -1 --separate-stderr era_check clean.img
  same "era_check: clean.img: metadata block $where: writeset tree: the block holds only zeros; which blocks were written in any era is unknown" "$stderr"
  [[ $output = *'not for leaks'* ]]
}

@test "a hole in the device is one line" {
  image full
  # Blocks that hold neighbouring parts of the era array, one after the other.
  previous=0 length=0
  for ((next = 0; next < 257 && length < 5; ++next)); do
    where=$(array_block full.img $next)
    length=$((where == previous + 1 ? length + 1 : 1))
    previous=$where
  done
  ((length == 5))
  for ((k = 0; k < 5; ++k)); do zero_block full.img $((where - k)); done
  run -1 --separate-stderr era_check full.img
  same "era_check: full.img: metadata blocks $((where - 4)) to $where: era array: the block holds only zeros; when origin blocks $(((next - 5) * 1018)) to $((next * 1018 - 1)) were last written is unknown" "$stderr"
  [[ $output = *'found: 1 error, 0 leaks'* ]]
}

@test "everything that is wrong is found in one go" {
  image snap-live
  zero_block snap-live.img "$(array_block snap-live.img 1)"
  zero_block snap-live.img "$(array_block snap-live.img 4)"
  zero_block snap-live.img "$(bitmap_of snap-live.img)"
  run -1 --separate-stderr era_check snap-live.img
  [[ $stderr = *'origin blocks 1018 to 2035 '*'origin blocks 4072 to 4095 '*'space map'* ]] || fail "$stderr"
  [[ $(wc -l <<<"$stderr") -ge 3 ]]
}

@test "what only the metadata snapshot holds is checked too" {
  image snap-live
  snap=$(superblock snap-live.img metadata_snap)
  tree=$(peek snap-live.img $((snap * 4096 + 200)) 8)
  [[ $tree != "$(superblock snap-live.img writeset_tree_root)" ]]
  zero_block snap-live.img "$tree"
  finds bad-checksum writeset-tree snap-live.img
  finds bad-checksum writeset-tree snap-live.img --metadata-snapshot
  run -1 --separate-stderr era_check snap-live.img
  [[ $stderr = *"metadata block $tree: writeset tree of the metadata snapshot: "* ]] || fail "$stderr"
}

@test "--metadata-snapshot looks at nothing else" {
  image snap-live
  zero_block snap-live.img "$(superblock snap-live.img current_root)"
  zero_block snap-live.img "$(bitmap_of snap-live.img)"
  run -1 era_check snap-live.img
  run -0 era_check --metadata-snapshot snap-live.img
  [[ ${lines[-1]} = 'found: nothing wrong' ]]
}

# --- Every class that needs no broken disk.

@test "bad-checksum: a flipped bit" {
  for part in writeset_tree_root era_array_root current_root bitmap_root; do
    image crash
    offset=$(($(superblock crash.img $part) * 4096 + 2000))
    poke crash.img $offset 1 $(($(peek crash.img $offset 1) ^ 16))
    case $part in
      writeset_tree_root) finds bad-checksum writeset-tree crash.img ;;
      era_array_root) finds bad-checksum era-array crash.img ;;
      current_root) finds bad-checksum current-writeset crash.img ;;
      bitmap_root) finds bad-checksum space-map crash.img ;;
    esac
  done
  image crash
  poke crash.img 3000 1 1
  finds bad-checksum superblock crash.img
}

@test "wrong-kind: an array block where a node belongs" {
  image crash
  root=$(superblock crash.img era_array_root)
  copy_block crash.img "$(array_block crash.img 0)" "$root"
  finds wrong-place era-array crash.img
  poke crash.img $((root * 4096 + 16)) 8 "$root"
  prepare_for_write crash.img "$root" array
  finds wrong-kind era-array crash.img
}

@test "wrong-place: a misdirected write" {
  image crash
  copy_block crash.img "$(array_block crash.img 0)" "$(array_block crash.img 1)"
  finds wrong-place era-array crash.img
}

@test "bad-shape: an array block that is not full" {
  image crash
  where=$(array_block crash.img 0)
  poke crash.img $((where * 4096 + 8)) 4 1017
  prepare_for_write crash.img "$where" array
  finds bad-shape era-array crash.img
}

@test "bad-pointer: past the end, and to the superblock" {
  for target in 1024 0; do
    image crash
    root=$(superblock crash.img era_array_root)
    poke crash.img "$(pointer_to crash.img "$root" 1)" 8 $target
    prepare_for_write crash.img "$root" node
    finds bad-pointer era-array crash.img
  done
}

@test "cross-linked: one block twice in an array" {
  image crash
  root=$(superblock crash.img era_array_root)
  poke crash.img "$(pointer_to crash.img "$root" 1)" 8 "$(array_block crash.img 0)"
  prepare_for_write crash.img "$root" node
  finds cross-linked era-array crash.img
}

@test "missing: an array's tree that ends early" {
  image crash
  root=$(superblock crash.img era_array_root)
  [[ $(peek crash.img $((root * 4096 + 16)) 4) = 3 ]]
  poke crash.img $((root * 4096 + 16)) 4 2
  prepare_for_write crash.img "$root" node
  finds missing era-array crash.img
}

@test "bad-value: an era that has not been yet" {
  image crash
  where=$(array_block crash.img 1)
  poke crash.img $((where * 4096 + 24 + 4 * 7)) 4 $(($(superblock crash.img current_era) + 1))
  prepare_for_write crash.img "$where" array
  finds bad-value era-array crash.img
  run -1 --separate-stderr era_check crash.img
  [[ $stderr = *"metadata block $where: era array: "*"origin block $((1018 + 7)) was last written"* ]] || fail "$stderr"
}

@test "bad-value: a superblock of another version, or with an impossible block size" {
  image crash
  poke crash.img 40 4 2
  prepare_for_write crash.img 0 superblock
  finds bad-value superblock crash.img
  image crash
  poke crash.img 172 4 7
  prepare_for_write crash.img 0 superblock
  finds bad-value superblock crash.img
  finds bad-value superblock crash.img --super-block-only
}

@test "count-too-low: a block in use that counts as free" {
  image crash
  where=$(array_block crash.img 1)
  set_count crash.img "$where" 0
  finds count-too-low reference-counts crash.img
  run -1 --separate-stderr era_check --ignore-non-fatal-errors crash.img
  [[ $stderr = *"metadata block $where: reference counts: "*'do not activate the device'* ]] || fail "$stderr"
}

@test "count-too-high: a leak is the only finding that can be ignored" {
  image crash
  leak crash.img 500
  finds count-too-high reference-counts crash.img
  run -1 --separate-stderr era_check crash.img
  same "era_check: crash.img: metadata block 500: reference counts: the space map counts 1 references, and there are 0; space is wasted; no era is affected" "$stderr"
  [[ $output = *'found: 0 errors, 1 leak'* ]]
  run -0 --separate-stderr era_check --ignore-non-fatal-errors crash.img
  [[ $output = *'found: 0 errors, 1 leak'* && $stderr = *'metadata block 500'* ]]
  # Together with an error it does not make the status 0.
  zero_block crash.img "$(array_block crash.img 1)"
  run -1 era_check --ignore-non-fatal-errors crash.img
  [[ $output = *'found: 1 error, 1 leak'* ]] || fail "$output"
}

# The tree's root lost its last write: what it had before is there, sound and in its place.
@test "cut-off: a writeset that nothing leads to is no leak" {
  simulated() { printf '%s\n' "${@:2}" | era_sim --metadata m.img --size 16M $1 >/dev/null 2>&1; }
  simulated '--create-metadata 1M' 'message checkpoint' 'write 17024 8' 'write 0 8'
  cp m.img old.img
  simulated '' 'message checkpoint' 'write 20864 8' 'message checkpoint'
  simulated '' 'write 27008 8'
  simulated '' 'write 17280 8'
  simulated '' 'write 12800 8'
  same '100 101' "$(era_invalidate --format text --written-since 8 m.img)"
  root=$(superblock m.img writeset_tree_root)
  dd if=old.img of=m.img bs=4096 skip="$root" seek="$root" count=1 conv=notrunc status=none
  finds cut-off reference-counts m.img
  run -1 --separate-stderr era_check --ignore-non-fatal-errors m.img
  [[ $output = *'found: 1 error, 0 leaks'* && $stderr = *'a write that led to it may be lost'* ]] || fail "$output$stderr"
  truncate -s 16M origin backup
  refused 'may be lost' era_invalidate --format text --written-since 8 m.img
  refused 'not dumped' era_dump --logical m.img
  refused 'may be lost' era_backup --metadata m.img --source origin --written-since 8 backup
  # The tree's write was lost, or that of the superblock.
  same '0 256' "$(era_invalidate --repair --format text --written-since 8 m.img 2>/dev/null)"
}

# --- Options.

@test "the summary does not go into the metadata" {
  image crash
  cp crash.img before
  run -1 --separate-stderr bash -c 'era_check crash.img 1<>crash.img'
  [[ $stderr = 'era_check: standard output: is the metadata itself; name another output' ]] || fail "$stderr"
  cmp before crash.img
}

@test "findings go to stderr, the summary to stdout" {
  image crash
  zero_block crash.img "$(array_block crash.img 1)"
  run -1 --separate-stderr era_check crash.img
  [[ $output != *'only zeros'* && $stderr != *'found:'* && $stderr != *'next:'* ]]
  [[ ${lines[0]} = 'crash.img: 1024 metadata blocks, 11 in use' ]]
}

@test "-q and --quiet print nothing, and have the same exit status" {
  image clean crash
  zero_block crash.img "$(array_block crash.img 1)"
  for option in -q --quiet '-q --json'; do
    # shellcheck disable=SC2086
    run -0 era_check $option clean.img
    [[ -z $output ]] || fail "$output"
    # shellcheck disable=SC2086
    run -1 era_check $option crash.img
    [[ -z $output ]] || fail "$output"
  done
  leak clean.img 500
  run -1 era_check -q clean.img
  run -0 era_check -q --ignore-non-fatal-errors clean.img
  [[ -z $output ]]
  # But not why there was no check.
  refused 'No such file' era_check -q missing.img
}

@test "--super-block-only looks at nothing else" {
  image crash snap-live
  for part in writeset_tree_root era_array_root current_root bitmap_root; do
    zero_block crash.img "$(superblock crash.img $part)"
  done
  run -1 era_check crash.img
  run -0 era_check --super-block-only crash.img
  [[ $output = *$'\nlooked at: superblock\nfound: nothing wrong' ]] || fail "$output"
  zero_block crash.img 0
  finds wrong-kind superblock crash.img --super-block-only
  # With --metadata-snapshot, the snapshot's superblock as well.
  zero_block snap-live.img "$(superblock snap-live.img metadata_snap)"
  run -0 era_check --super-block-only snap-live.img
  finds bad-checksum superblock snap-live.img --super-block-only --metadata-snapshot
}

# --- JSON.

@test "--json says what the text says" {
  command -v jq >/dev/null || skip 'needs jq'
  for name in "${images[@]}"; do
    image "$name"
    run -0 --separate-stderr era_check --json "$name.img"
    [[ -z $stderr ]]
    same '[0,0,0,true]' "$(jq -c '[.errors, .leaks, (.findings | length), .leaks_checked]' <<<"$output")"
    same "$(superblock "$name.img" current_era) $(superblock "$name.img" nr_blocks)" \
      "$(jq -r '"\(.live.current_era) \(.live.origin_blocks)"' <<<"$output")"
    same "$(era_check "$name.img" | head -n 1)" \
      "$name.img: $(jq -r '"\(.metadata_blocks) metadata blocks, \(.blocks_in_use) in use"' <<<"$output")"
    same "$([[ $name = snap-live ]] && echo object || echo null)" "$(jq -r '.snapshot | type' <<<"$output")"
  done
}

@test "--json has the same findings as the text, and the same counts" {
  command -v jq >/dev/null || skip 'needs jq'
  image snap-live
  leak snap-live.img 500
  leak snap-live.img 502
  for i in 0 2 3; do zero_block snap-live.img "$(array_block snap-live.img $i)"; done
  run -1 --separate-stderr era_check snap-live.img
  text=$output
  findings=$stderr
  run -1 --separate-stderr era_check --json snap-live.img
  same "$(wc -l <<<"$findings")" "$(jq '.findings | length' <<<"$output")"
  same "$(sed -n 's/^found: //p' <<<"$text")" "$(jq -r '"\(.errors) errors, \(.leaks) leaks"' <<<"$output")"
  same "$(jq .errors <<<"$output")" "$(jq '[.findings[] | select(.fatal)] | length' <<<"$output")"
  # The errors and their meanings, in the same words and the same order.
  same "$(sed 's/^.*: \(.*; .*\)$/\1/' <<<"$findings")" \
    "$(jq -r '.findings[] | "\(.what); \(.meaning)"' <<<"$output" | sed 's/^.*: \(.*; .*\)$/\1/')"
  same 0 "$(jq '.findings[0].hidden.origin_blocks.begin' <<<"$output")"
}

@test "--json is valid whatever the device is called" {
  command -v jq >/dev/null || skip 'needs jq'
  image clean
  for name in 'a "quoted" name' 'back\slash' $'new\nline' 'ümläut' $'\xff\xfe'; do
    cp clean.img "$name"
    run -0 --separate-stderr era_check --json "$name"
    device=$(jq -r .device <<<"$output")
    [[ $device = "$name" || $name = $'\xff\xfe' ]] || fail "$device"
  done
}
