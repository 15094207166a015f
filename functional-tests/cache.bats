#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_invalidate --cache: exactly the blocks of a cache that are stale, or nothing.
load helpers

# dump BLOCK_SIZE "CACHE_BLOCK ORIGIN_BLOCK true|false"...: as cache_dump prints it.
dump() {
  echo "<superblock uuid=\"\" block_size=\"$1\" nr_cache_blocks=\"64\" policy=\"smq\" hint_width=\"4\">"
  echo '  <mappings>'
  printf '%s\n' "${@:2}" |
    sed '/^$/d;s/\(.*\) \(.*\) \(.*\)/    <mapping cache_block="\1" origin_block="\2" dirty="\3"\/>/'
  printf '  </mappings>\n  <hints>\n'
  printf '%s\n' "${@:2}" | sed '/^$/d;s/ .*//;s/.*/    <hint cache_block="&" data="AQAAAA=="\/>/'
  printf '  </hints>\n</superblock>\n'
}

# In `crash` blocks 6 and 1000 to 1019, of 128 sectors, were written in era 3. A cache block has two.
mappings=('0 3 false' '1 4 false' '7 500 false' '8 509 false' '9 510 false' '63 0 false')

# stale ARGUMENT...: what is stale in the cache, whose dump is cache.xml.
stale() { era_invalidate --cache cache.xml --written-since 3 "$@" crash.img; }

@test "the formats" {
  image crash
  dump 256 "${mappings[@]}" >cache.xml
  run -0 --separate-stderr stale
  same '<blocks>
  <block block="0"/>
  <range begin="7" end="9"/>
</blocks>' "$output"
  [[ -z $stderr ]]
  same $'0 1\n7 9' "$(stale --format text)"
  same 'invalidate_cblocks 0 7-9' "$(stale --format messages)"
  same '{"block_size":128,"nr_blocks":2048,"written_since":3,"written_before":null,"current_era":3,"next_era":4,"unit":"cache_block","cache_block_size":256,"nr_cache_blocks":64,"cache_offset":0,"count":3,"dirty":0,"bytes":393216,
"ranges":[
{"begin":0,"end":1},
{"begin":7,"end":9}
]}' "$(stale --format json)"
  stale -o list --format text
  same $'0 1\n7 9' "$(<list)"
}

@test "nothing is stale: an empty list, and no message" {
  image crash
  dump 256 '1 4 false' >cache.xml
  run -0 --separate-stderr stale --format messages
  [[ -z $output && -z $stderr ]]
  same $'<blocks>\n</blocks>' "$(stale)"
  dump 256 >cache.xml
  same '' "$(stale --format text)"
}

@test "the dump comes from a file, a pipe, or compressed" {
  image crash
  dump 256 "${mappings[@]}" >cache.xml
  same $'0 1\n7 9' "$(stale --format text)"
  same $'0 1\n7 9' "$(era_invalidate --cache - --written-since 3 --format text crash.img <cache.xml)"
  same $'0 1\n7 9' \
    "$(era_invalidate --cache <(cat cache.xml) --written-since 3 --format text crash.img)"
  xz cache.xml
  same $'0 1\n7 9' \
    "$(era_invalidate --cache cache.xml.xz --written-since 3 --format text crash.img)" ||
    era_restore -i cache.xml.xz -o crash.img 2>&1 | grep -q 'built without'
}

@test "what cache_dump prints" {
  command -v cache_restore cache_dump >/dev/null || skip 'needs thin-provisioning-tools'
  image crash
  dump 256 "${mappings[@]}" >cache.xml
  truncate -s 4M cache.img
  cache_restore -i cache.xml -o cache.img >/dev/null
  same $'0 1\n7 9' \
    "$(cache_dump cache.img | era_invalidate --cache - --written-since 3 --format text crash.img)"
  # Damaged metadata: cache_dump ends too early, or prints nothing.
  zero_block cache.img 0
  run -1 --separate-stderr bash -c \
    'cache_dump cache.img 2>/dev/null | era_invalidate --cache - --written-since 3 crash.img'
  [[ -z $output && $stderr = *'standard input:1: the file ends before a superblock begins'* ]]
}

@test "smaller and larger blocks, and a device that does not begin with the volume" {
  image crash
  # Sectors 768 to 895 and 128000 to 130559 were written.
  dump 64 '0 11 false' '1 12 false' '2 13 false' '3 14 false' '4 1999 false' '5 2000 false' \
    '6 2039 false' '7 2040 false' >cache.xml
  same $'1 3\n5 7' "$(stale --format text)"
  same $'2 4\n6 8' "$(stale --format text --cache-offset 64)"
  same $'1 4\n5 8' "$(stale --format text --cache-offset 63)"
  same $'1 4\n5 8' "$(stale --format text --cache-offset 1)"
  same '' "$(stale --format text --cache-offset 18014398509481984)"
  dump 2097152 '0 0 false' '1 1 false' '2 8589934591 false' >cache.xml
  same '0 1' "$(stale --format text)"
  same '1 2' "$(stale --format text --cache-offset 2096384)"
  same '0 2' "$(stale --format text --cache-offset 2096383)"
  same '2 3' "$(stale --format text --cache-offset 18014398509480000)"
}

# Era 0 asks for all blocks; the device has 262144 sectors.
@test "what is not of the device is not listed" {
  image crash
  dump 64 '0 0 false' '1 1 true' '2 4095 false' '3 4096 false' '4 4097 true' >cache.xml
  all() { era_invalidate --cache cache.xml --written-since 0 --format text "$@" crash.img 2>/dev/null; }
  same '0 3' "$(all)"
  same '1 4' "$(all --cache-offset 64)"
  same '0 4' "$(all --cache-offset 63)"
  same '2 5' "$(all --cache-offset 128)"
}

@test "windows of eras, snapshots and damage as in the list of the device" {
  image crash snap-live
  dump 128 '0 5 false' '1 6 false' '2 7 false' '3 100 false' '4 1000 false' '5 1030 false' \
    '6 2040 false' >cache.xml
  ask() { era_invalidate --cache cache.xml --format text "$@" 2>errors; }
  same $'0 1\n2 4' "$(ask --written-since 1 --written-before 3 crash.img)"
  # A cache that holds each block of the device in the cache block of the same number.
  awk 'BEGIN {
    print "<superblock uuid=\"\" block_size=\"64\" nr_cache_blocks=\"4096\" policy=\"\" hint_width=\"4\"><mappings>"
    for (b = 0; b < 4096; ++b) print "<mapping cache_block=\"" b "\" origin_block=\"" b "\" dirty=\"false\"/>"
    print "</mappings></superblock>" }' >all.xml
  for era in 1 2 3 4; do
    for option in '' --metadata-snapshot; do
      # shellcheck disable=SC2086
      list() { era_invalidate --written-since $era --format text $option "$@" snap-live.img; }
      same "$(list)" "$(list --cache all.xml)" || fail "era $era $option"
    done
  done
  zero_block crash.img "$(array_block crash.img 1)"
  refused 'is damaged: nothing is listed.*--repair' \
    era_invalidate --cache cache.xml --written-since 3 crash.img
  # Array block 1 has the eras of 1018 to 2035.
  same $'1 2\n4 6' "$(ask --repair --written-since 3 crash.img)"
  grep -q 'is damaged: 1016 of the 1037 changed blocks count as changed only because' errors || fail "$(<errors)"
}

@test "dirty blocks are listed and counted, or an error" {
  image crash
  # Block 1 is not among those that were written. Block 20 is not of the device.
  dump 256 '0 3 true' '1 4 true' '7 500 false' '20 5000 true' >cache.xml
  run -0 --separate-stderr stale --format messages
  [[ $output = 'invalidate_cblocks 0-2 7' ]]
  same 'era_invalidate: cache.xml: 2 of the 3 cache blocks listed are dirty: their last writes are only in the cache, and are lost when they are dropped' "$stderr"
  same 2 "$(stale --format json 2>/dev/null | sed -n 's/.*"dirty":\([0-9]*\),.*/\1/p')"
  refused 'cache.xml: nothing is listed: 2 blocks of the era device are dirty in the cache; .*write them back' \
    stale --require-clean
  run -1 stale --require-clean -o list
  [[ ! -e list ]]
  sed -i '/origin_block="[34]"/s/true/false/' cache.xml
  run -0 --separate-stderr stale --require-clean --format text
  same $'0 1\n7 8' "$output"
  [[ -z $stderr ]]
}

@test "messages are below 4000 characters, and drop exactly the listed blocks" {
  image crash
  awk 'BEGIN {
    print "<superblock uuid=\"\" block_size=\"64\" nr_cache_blocks=\"10000\" policy=\"\" hint_width=\"4\"><mappings>"
    for (b = 0; b < 4096; ++b)
      if (b % 7 < 3 || b % 7 == 5) print "<mapping cache_block=\"" 2 * b + (b % 7 == 5) "\" origin_block=\"" 4095 - b "\" dirty=\"false\"/>"
    print "</mappings></superblock>" }' >cache.xml
  ask() { era_invalidate --cache cache.xml --written-since 0 --format "$1" crash.img; }
  ask messages >lines
  [[ $(wc -l <lines) -ge 2 ]]
  while read -r line; do
    ((${#line} < 4000)) || fail "a line of ${#line} characters"
    [[ $line = 'invalidate_cblocks '[0-9]* ]] || fail "$line"
  done <lines
  same "$(ask text)" "$(sed 's/^invalidate_cblocks //' lines | tr ' ' '\n' |
    awk -F- '{ print $1, NF == 2 ? $2 : $1 + 1 }')"
}

# So long a list is formatted in pieces.
@test "long messages have the blocks of the list, in order" {
  echo '<superblock uuid="" block_size="4096" nr_blocks="1000" current_era="1"><era_array>
    <range block_begin="0" len="1000" era="1"/></era_array></superblock>' >long.xml
  truncate -s 1M long.img
  era_restore --quiet -i long.xml -o long.img
  awk 'BEGIN {
    print "<superblock uuid=\"\" block_size=\"64\" nr_cache_blocks=\"200000\" policy=\"\" hint_width=\"4\"><mappings>"
    for (b = 0; b < 64000; ++b) print "<mapping cache_block=\"" 3 * b "\" origin_block=\"" b "\" dirty=\"false\"/>"
    print "</mappings></superblock>" }' >cache.xml
  ask() { era_invalidate --cache cache.xml --written-since 1 --format "$1" long.img; }
  ask messages >lines
  [[ $(wc -l <lines) -ge 100 ]]
  ((4000 > $(wc -L <lines)))
  ask text >list
  [[ $(wc -l <list) = 64000 ]]
  sed 's/^invalidate_cblocks //' lines | tr ' ' '\n' | awk '{ print $1, $1 + 1 }' | cmp - list
}

@test "a dump that cannot be is an error with its line, and nothing is listed" {
  image crash
  dump 256 "${mappings[@]}" >right.xml
  wrong() { # PATTERN SED
    sed "$2" right.xml >cache.xml
    ! cmp -s right.xml cache.xml || fail "'$2' changes nothing"
    refused "^era_invalidate: cache.xml:$1; nothing is listed: give the whole output of cache_dump, unchanged\$" stale
  }
  wrong '1: superblock: attribute .nr_cache_blocks. is missing' 's/nr_cache_blocks="64"//'
  wrong '1: era: this element is not known here; expected a superblock' 's/superblock/era/'
  wrong '1: superblock: block_size="100" is not a multiple of 64 above 0' 's/"256"/"100"/'
  wrong '2: mapping: .*expected the mappings' 2d
  wrong '3: mapping: attribute .dirty. is missing' '3s/dirty="false"//'
  wrong '3: mapping: attribute .era. is not known.*' '3s/dirty/era="1" dirty/'
  wrong '3: mapping: dirty="no" is neither true nor false' '3s/"false"/"no"/'
  wrong '4: mapping: cache_block="0" comes after 0; they must ascend' '4s/"1"/"0"/'
  wrong '4: mapping: cache_block="64" is not below nr_cache_blocks="64"' '4s/"1"/"64"/'
  wrong '5: mapping: origin_block="4" is in the mapping of line 4, too' '5s/"500"/"4"/'
  wrong '5: mapping: origin_block="99999999999999" is too large; it can be 70368744177663 at most' '5s/"500"/"99999999999999"/'
  wrong '9: the file ends here, before </superblock>: it is truncated' '9,$d'
  : >cache.xml
  refused 'cache.xml:1: the file ends before a superblock begins' stale
  refused 'no.xml: No such file' era_invalidate --cache no.xml --written-since 3 crash.img
  refused 'crash.img: is binary metadata of dm-era, not XML; name what cache_dump prints' era_invalidate --cache crash.img --written-since 3 crash.img
  era_dump -o cache.xml crash.img
  refused 'cache.xml:1: superblock: attribute .nr_blocks. is not known' stale
  run -1 stale -o list
  [[ ! -e list ]]
}

@test "options are checked" {
  image crash
  dump 256 "${mappings[@]}" >cache.xml
  refused '--cache and --unit exclude each other' stale --unit byte
  refused '--cache and --device-size exclude each other' stale --device-size 262144
  refused '--format ddrescue and --cache exclude each other' stale --format ddrescue
  for option in '--format messages' '--cache-offset 8' --require-clean; do
    # shellcheck disable=SC2086
    refused "${option% *}.* has no effect without --cache" era_invalidate $option --written-since 3 crash.img
  done
  refused '--cache-offset: .* too large' stale --cache-offset 18014398509481985
  refused 'cache.xml: is the dump of the cache itself; name another output' stale -o cache.xml
  ln -s cache.xml link
  refused 'link: is the dump of the cache itself' stale -o link
  cp cache.xml before
  run -1 --separate-stderr bash -c 'era_invalidate --cache cache.xml --written-since 3 crash.img 1<>cache.xml'
  [[ $stderr = *'standard output: is the dump of the cache itself'* ]] || fail "$stderr"
  run -1 --separate-stderr bash -c 'era_invalidate --cache - --written-since 3 crash.img <cache.xml 1<>cache.xml'
  [[ $stderr = *'standard output: is the dump of the cache itself'* ]] || fail "$stderr"
  cmp before cache.xml
}
