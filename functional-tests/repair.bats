#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_repair and era_dump --repair from outside: what comes out is sound and lacks nothing, what was
# assumed is said, and neither the input nor a refused output is changed.
load helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

output() { rm -f out.img && truncate -s "${1:-8M}" out.img; }

is_clean() {
  run -0 era_check out.img
  [[ ${lines[-1]} = 'found: nothing wrong' ]] || fail "$output"
}

# contains LIST FILE: is each block of the list, in "begin end" lines, in that of the file?
contains() {
  awk 'NR == FNR { for (b = $1; b < $2; ++b) has[b] = 1; next }
    { for (b = $1; b < $2; ++b) if (!(b in has)) { print "block", b, "is missing"; exit 1 } }' \
    "$2" "$1"
}

@test "what is sound comes out as it was" {
  for name in "${images[@]}"; do
    image "$name" && output
    run -0 --separate-stderr era_repair -i "$name.img" -o out.img
    [[ -z $output && $stderr = *"$name.img: nothing is wrong, and nothing had to be assumed" ]] ||
      [[ $name = snap-live && $stderr = *'assumed: the metadata snapshot is left out'* ]] ||
      fail "$stderr"
    is_clean
    era_dump --compact "$name.img" | cmp - <(era_dump --compact out.img)
    for form in '' --compact --logical; do
      # shellcheck disable=SC2086
      cmp <(era_dump $form "$name.img") <(era_dump --repair $form "$name.img" 2>/dev/null)
    done
  done
}

@test "a lost block of the era array: its blocks are written, all others are as they were" {
  image crash && output
  block=$(array_block crash.img 1)
  era_invalidate --written-since 3 --format text crash.img >before
  zero_block crash.img "$block"
  sum=$(sha256sum crash.img)
  run -0 --separate-stderr era_repair -i crash.img -o out.img
  [[ ${#stderr_lines[@]} = 2 ]]
  [[ ${stderr_lines[0]} = "era_repair: crash.img: metadata block $block: era array: "*'origin blocks 1018 to 2035 '* ]]
  [[ ${stderr_lines[1]} = 'era_repair: crash.img: 1016 of 2048 origin blocks are marked '* ]]
  [[ $(sha256sum crash.img) = "$sum" ]]
  is_clean
  run -0 era_invalidate --written-since 3 --format text out.img
  same "$output" $'6 7\n1000 2036'
  contains before <(echo "$output")
}

@test "the superblock of every image is lost, and found again" {
  for name in "${images[@]}"; do
    image "$name" && output
    size=$(peek "$name.img" 172 4)
    current=$(superblock "$name.img" current_era)
    for era in 1 "$current"; do
      era_invalidate --written-since "$era" --format text "$name.img" >"before.$era"
    done
    zero_block "$name.img" 0
    refused 'give it with --block-size SECTORS' era_repair -q -i "$name.img" -o out.img ||
      [[ $name = snap-live ]] # it has a copy
    run -0 --separate-stderr era_repair -i "$name.img" -o out.img --block-size "$size"
    [[ $stderr = *"$name.img: assumed: the current era is "*'--current-era'* ]]
    [[ $stderr = *"assumed: the era array is that of block "* ]]
    is_clean
    for era in 1 "$current"; do
      era_invalidate --written-since "$era" --format text out.img >after
      contains "before.$era" after
    done
  done
}

@test "a beginning that was overwritten: everything is written, and the size has to be told" {
  image full && output
  dd if=/dev/zero of=full.img bs=4096 count=100 conv=notrunc status=none
  refused 'give it with --nr-blocks N' era_repair -q -i full.img -o out.img --block-size 8
  run -0 era_repair -q -i full.img -o out.img --block-size 8 --nr-blocks 262144
  [[ -z $output ]]
  is_clean
  run -0 era_invalidate --written-since "$(superblock out.img current_era)" --format text out.img
  [[ $output = '0 262144' ]]
}

@test "era_dump --repair prints what era_repair writes" {
  image full && output 16M
  zero_block full.img "$(superblock full.img era_array_root)"
  zero_block full.img "$(superblock full.img writeset_tree_root)"
  refused 'salvage the rest with era_dump --repair' era_dump full.img
  run -0 --separate-stderr era_dump --repair -o full.xml full.img
  [[ $stderr = *'era array: the block holds only zeros'*'assumed: '* ]]
  era_repair -q -i full.img -o out.img
  is_clean
  cmp full.xml <(era_dump out.img)
  cmp <(era_dump --repair --logical --compact full.img 2>/dev/null) \
    <(era_dump --logical --compact out.img)
  era_dump --repair -o full.xml.gz full.img 2>/dev/null
  cmp full.xml <(gzip -dc full.xml.gz)
}

@test "the metadata snapshot can be salvaged by a dump" {
  image snap-live
  era_dump --metadata-snapshot snap-live.img >sound.xml
  run -0 --separate-stderr era_dump --repair --metadata-snapshot -o all.xml snap-live.img
  cmp sound.xml all.xml
  zero_block snap-live.img "$(superblock snap-live.img metadata_snap)"
  refused 'the superblock of the metadata snapshot is lost' \
    era_dump --repair --metadata-snapshot snap-live.img
}

@test "the metadata itself is refused as output, by any name, and so are others" {
  image crash && output
  sum=$(sha256sum crash.img)
  ln crash.img hard.img && ln -s crash.img soft.img
  for name in crash.img hard.img soft.img; do
    refused "$name: is the damaged metadata itself, which is never written to" \
      era_repair -i crash.img -o "$name"
  done
  refused 'missing.img: is not there; make it so large first: truncate' \
    era_repair -q -i crash.img -o missing.img
  truncate -s 12K small.img
  refused 'small.img: is too small: ' era_repair -q -i crash.img -o small.img
  cmp -n 12288 small.img /dev/zero
  refused 'missing.img: No such file' era_repair -i missing.img -o out.img
  cmp -n 12288 out.img /dev/zero
  [[ $(sha256sum crash.img) = "$sum" ]]
}

@test "what is no era metadata is refused, and the output is not touched" {
  printf 'abc' | dd of=out.img bs=4096 seek=1000 status=none
  truncate -s 4M zeros.img
  sum=$(sha256sum out.img)
  refused 'there is no era metadata here' era_repair -i zeros.img -o out.img --block-size 8
  head -c 1M /dev/urandom >random.img
  refused 'there is no era metadata here' era_repair -i random.img -o out.img --block-size 8
  echo '<superblock/>' >x.xml && truncate -s 8K x.xml
  refused 'it is XML' era_repair -i x.xml -o out.img --block-size 8
  [[ $(sha256sum out.img) = "$sum" ]]
}

@test "options that cannot be" {
  image crash && output
  refused 'block-size: 12 is not a multiple of 8 above 0' era_repair -i crash.img -o out.img --block-size 12
  refused 'block-size: 0 is not a multiple of 8 above 0' era_repair -i crash.img -o out.img --block-size 0
  refused 'nr-blocks: 0 is' era_repair -i crash.img -o out.img --nr-blocks 0
  refused 'block-size 64 cannot be' era_repair -i crash.img -o out.img --block-size 64
  refused 'nr-blocks' era_repair -i crash.img -o out.img --nr-blocks 2147483648
  refused '--current-era 2 cannot be' era_repair -q -i crash.img -o out.img --current-era 2
  refused '--output is required' era_repair -i crash.img
  cmp -n 4096 out.img /dev/zero
}

@test "a write that fails leaves no metadata behind" {
  image full && output
  era_repair -q -i full.img -o out.img
  # The limit cuts the output short; block 0 is within it.
  run -1 --separate-stderr bash -c 'ulimit -f 100; exec era_repair -q -i full.img -o out.img'
  [[ $stderr = *'out.img: metadata blocks '*'cannot be written: File too large'* ]] || fail "$stderr"
  [[ $stderr = *'out.img: is wiped and holds no metadata'* ]]
  cmp -n 4096 out.img /dev/zero
}
