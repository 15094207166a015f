#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_invalidate: exactly what was written in the eras asked for, or nothing.
load helpers

# written_in SINCE BEFORE NAME [snapshot]: what the truth says, as merged "begin end" lines.
written_in() {
  truth "${@:3}" | awk -v since="$1" -v before="$2" '
    $3 < since || $3 >= before { next }
    n && $1 == last { last = $2; next }
    { if (n++) print first, last; first = $1; last = $2 }
    END { if (n) print first, last }'
}

no_end=4294967296

# last_era NAME
last_era() { superblock "$1.img" current_era; }

# blocks <LIST: the numbers in a list of ranges, one a line.
blocks() { while read -r begin end; do seq "$begin" $((end - 1)); done | sort; }

# device NAME KIB BLOCKS: a device whose power goes after the commands on standard input; each commits.
device() {
  rm -f "$1"
  { sed 's/$/\nstatus/'; echo crash; } | era_sim --metadata "$1" --create-metadata "$2K" \
    --size $(($3 * 128)) --digest manual --script - >/dev/null 2>&1
}

# lost_writes KIB BLOCKS: from the files before and after, makes new.img, and old.img with an older superblock.
lost_writes() {
  device early.img "$@" <before
  cat before after | device new.img "$@"
  cp new.img old.img
  dd if=early.img of=old.img bs=4096 count=1 conv=notrunc status=none
}

@test "the last writes of the superblock were lost, and its space map was overwritten" {
  printf 'message %s\n' take_metadata_snap checkpoint drop_metadata_snap take_metadata_snap drop_metadata_snap \
    take_metadata_snap >before
  echo 'write 23168 384' >>before
  printf '%s\n' 'digest all' 'message checkpoint' 'write 45312 512' 'write 39040 512' 'digest all' >after
  lost_writes 192 500
  run -0 era_invalidate --written-since 5 --format text new.img
  [[ ${#lines[@]} -gt 1 ]]
  refused 'a write may be lost, and blocks would be missing from lists' era_invalidate --written-since 5 old.img
  refused 'a write may be lost' era_dump old.img
  run -0 --separate-stderr era_invalidate --repair --written-since 5 --format text old.img
  [[ $output = '0 500' ]] || fail "$output"
}

@test "an older superblock of the same era" {
  printf '%s\n' 'write 32896 512' 'write 229248 256' 'message checkpoint' 'digest 1' 'message checkpoint' \
    'write 240128 256' 'write 255488 256' 'write 217856 256' 'write 245504 256' 'write 56960 384' 'write 48640 128' \
    'write 8576 384' 'digest 1' 'write 119552 256' 'write 254592 128' 'write 240128 384' 'write 146944 512' >before
  printf '%s\n' 'write 6144 128' 'write 39296 256' 'write 13184 384' 'write 71424 384' 'digest 1' 'write 250752 256' >after
  lost_writes 256 2048
  run -0 --separate-stderr era_invalidate --repair --written-since 1 --format text old.img
  [[ $output = '0 2048' ]] || fail "$output"
  # The era may be a later one.
  refused 'era 4 may have begun, and the newest that is found is 3; give the current era' \
    era_invalidate --repair --written-since 4 old.img
  run -0 --separate-stderr era_invalidate --repair --current-era 9 --written-since 9 --format text old.img
  [[ $output = '0 2048' ]] || fail "$output"
}

@test "the root of the era array is an older node" {
  printf 'message %s\n' take_metadata_snap checkpoint drop_metadata_snap >before
  printf '%s\n' 'write 97920 512' 'write 59264 512' 'message take_metadata_snap' 'message checkpoint' 'write 201984 128' \
    'message checkpoint' 'digest all' 'digest 1' 'message checkpoint' 'write 56192 256' 'write 171008 512' \
    'write 7808 384' 'digest all' 'write 20608 384' 'write 95104 512' 'message checkpoint' >>before
  printf '%s\n' 'write 108416 256' 'write 13824 256' 'write 126464 256' 'write 18816 256' 'digest all' 'write 251264 256' \
    'write 236416 128' 'message checkpoint' 'digest 1' 'digest all' >after
  lost_writes 256 2048
  cp new.img stale.img
  dd if=early.img of=stale.img bs=4096 skip=40 seek=40 count=1 conv=notrunc status=none
  run -1 era_check stale.img
  [[ $output = *'era array: the array has 3 blocks, and 2 of them from index 1 are not in its tree'* ]] || fail "$output"
  run -0 --separate-stderr era_invalidate --repair --written-since 1 --format text stale.img
  [[ $output = '0 2048' ]] || fail "$output"
}

@test "every image, live, at every era" {
  for name in "${images[@]}"; do
    image "$name"
    for ((era = 1; era <= $(last_era "$name") + 1; ++era)); do
      diff <(written_in $era $no_end "$name") \
        <(era_invalidate --format text --written-since $era "$name.img" 2>/dev/null) ||
        fail "$name since $era differs from the truth (<)"
    done
  done
}

@test "the metadata snapshot at every era" {
  image snap-live
  current=$(era_invalidate --format json --written-since 1 --metadata-snapshot snap-live.img | jq .current_era)
  for ((era = 1; era < current; ++era)); do
    same "$(written_in $era $no_end snap-live snapshot)" \
      "$(era_invalidate --metadata-snapshot --format text --written-since $era snap-live.img 2>/dev/null)"
  done
  # The snapshot was taken when that era began. An old one that is still held must not say that
  # nothing was written since.
  truncate -s 1M origin backup
  for repair in '' --repair; do
    refused "the metadata snapshot was taken when era $current began, and knows nothing of era $current; .*take a new one" \
      era_invalidate --metadata-snapshot $repair --written-since "$current" snap-live.img
  done
  refused 'take a new one' era_backup --metadata-snapshot --metadata snap-live.img --source origin \
    --written-since "$current" backup
}

@test "every window of eras" {
  for name in crash reopened; do
    image "$name"
    for since in 1 2 3 4; do
      for before in 1 2 3 4 5; do
        ((before > since)) || continue
        same "$(written_in $since $before "$name")" "$(era_invalidate --format text \
          --written-since $since --written-before $before "$name.img" 2>/dev/null)"
      done
    done
  done
}

@test "since era 0 is everything" {
  image crash
  same '0 2048' "$(era_invalidate --format text --written-since 0 crash.img)"
}

@test "XML is as thin-provisioning-tools print it" {
  image crash
  run -0 --separate-stderr era_invalidate --written-since 3 crash.img
  same '<blocks>
  <block block="6"/>
  <range begin="1000" end="1020"/>
</blocks>' "$output"
  [[ -z $stderr ]]
  era_invalidate --written-since 3 crash.img | tail -c 1 | od -c | grep -q '\\n'
}

@test "JSON" {
  command -v jq >/dev/null || skip 'needs jq'
  image crash
  json() { era_invalidate --format json "$@" crash.img | jq -c .; }
  same '[{"begin":6,"end":7},{"begin":1000,"end":1020}]' "$(json --written-since 3 | jq -c .ranges)"
  same '[]' "$(json --written-since 4 | jq -c .ranges)"
  same '[128,2048,3,null,3,"block",21]' "$(json --written-since 3 | jq -c '[.block_size, .nr_blocks,
    .written_since, .written_before, .current_era, .unit, .count]')"
  same '[1,3,"byte",9,589824]' "$(json --written-since 1 --written-before 3 --unit byte |
    jq -c '[.written_since, .written_before, .unit, .count, .bytes]')"
}

# A later write has a later era only if nobody wrote while the data was read.
@test "JSON tells the era to ask for next time, if the metadata tells it" {
  command -v jq >/dev/null || skip 'needs jq'
  next() { era_invalidate --format json --written-since 1 "$@" | jq -c .next_era; }
  image crash
  same 4 "$(next crash.img)"
  same 3 "$(next --written-before 3 crash.img)"
  same 4 "$(next --written-before 100 crash.img)"
  image snap-live
  snapshot=$(era_invalidate --format json --written-since 1 --metadata-snapshot snap-live.img | jq .current_era)
  same null "$(next --metadata-snapshot snap-live.img)"
  same "$snapshot" "$(next --metadata-snapshot --written-before "$snapshot" snap-live.img)"
  # The snapshot's current era goes on after it.
  same null "$(next --metadata-snapshot --written-before $((snapshot + 1)) snap-live.img)"
}

@test "--verbose tells it, too, on standard error" {
  said() { era_invalidate --verbose --written-since 1 "$@" 2>said >/dev/null && cat said; }
  image crash
  same 'era_invalidate: crash.img: next time: --written-since 4' "$(said --format text crash.img)"
  same "$(era_invalidate --written-since 1 crash.img)" \
    "$(era_invalidate --verbose --written-since 1 crash.img 2>/dev/null)"
  image snap-live
  [[ $(said --metadata-snapshot snap-live.img) = *'which a metadata snapshot does not tell' ]]
}

@test "units" {
  image crash
  same '768 896
128000 130560' "$(era_invalidate --format text --unit sector --written-since 3 crash.img)"
  same '393216 458752
65536000 66846720' "$(era_invalidate --format text --unit byte --written-since 3 crash.img)"
  # A device of the largest number of blocks of 16 GiB would have more bytes than 64 bits count.
  echo '<superblock uuid="" block_size="33554432" nr_blocks="1" current_era="1"><era_array>
    <era block="0" era="1"/></era_array></superblock>' >large.xml
  truncate -s 1M large.img
  era_restore --quiet -i large.xml -o large.img
  same '0 33554432' "$(era_invalidate --format text --unit sector --written-since 1 large.img)"
  refused 'blocks of this size cannot be counted in bytes; use --unit sector' \
    era_invalidate --unit byte --written-since 1 large.img
  refused 'use another --format, and --unit sector' \
    era_invalidate --format ddrescue --written-since 1 large.img
  # In other units a block is a range.
  era_invalidate --unit sector --written-since 3 crash.img | grep -q '<range begin="768" end="896"/>'
}

# It begins when the device is activated, and nothing was written in it yet.
@test "the era after the current one: an empty list, and no warning" {
  image crash
  run -0 --separate-stderr era_invalidate --written-since 4 crash.img
  same '<blocks>
</blocks>' "$output"
  [[ -z $stderr ]]
}

# Metadata that was made anew would otherwise say for ever that nothing has changed.
@test "an era that cannot have begun is an error" {
  image crash snap-live
  for since in 5 57 4294967295; do
    refused "crash.img: nothing is listed: era $since cannot have begun, since the current era is 3; .*all blocks count as changed" \
      era_invalidate --written-since $since crash.img
  done
  refused 'knows nothing of era 5' era_invalidate --metadata-snapshot --written-since 5 snap-live.img
  zero_block crash.img "$(array_block crash.img 1)"
  run -1 --separate-stderr era_invalidate --repair --written-since 5 crash.img
  [[ -z $output && $stderr = *'era 5 cannot have begun'* ]]
}

@test "a window without an era is an error" {
  image crash
  for window in '3 3' '3 2' '0 0' '4294967295 0'; do
    refused "^era_invalidate: --written-before ${window#* } is not after --written-since ${window% *}" \
      era_invalidate --written-since "${window% *}" --written-before "${window#* }" crash.img
  done
}

# 100 blocks of 64 KiB, and half of one.
@test "the last block ends where the device ends" {
  echo 'write 12800 64' | era_sim --metadata m.img --create-metadata 1M --size 12864 2>/dev/null
  list() { era_invalidate --written-since 1 --format text "$@" m.img; }
  same '100 101' "$(list)"
  same '12800 12928' "$(list --unit sector)"
  same '12800 12864' "$(list --unit sector --device-size 12864)"
  same '6553600 6586368' "$(list --unit byte --device-size 12864)"
  same '12800 12801' "$(list --unit sector --device-size 12801)"
  same '12800 12928' "$(list --unit sector --device-size 12928)"
  for size in 12800 12929 128 1; do
    refused "m.img: --device-size $size cannot be: it makes [0-9]* blocks of 128 sectors, and the metadata has 101" \
      era_invalidate --written-since 1 --unit byte --device-size $size m.img
  done
  refused 'device-size has no effect without --unit' \
    era_invalidate --written-since 1 --device-size 12864 m.img
}

@test "with a mapfile, ddrescue copies exactly the changed blocks" {
  command -v ddrescue >/dev/null || skip 'needs ddrescue'
  printf 'write %s\n' '0 1' '1280 256' '12800 64' |
    era_sim --metadata m.img --create-metadata 1M --size 12864 2>/dev/null
  ask() { era_invalidate --written-since 1 --device-size 12864 "$@" m.img; }
  head -c 6586368 /dev/urandom >new
  tr '\0' x </dev/zero | head -c 6586368 >backup
  cp backup expected
  while read -r begin end; do
    dd if=new of=expected iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc status=none \
      skip="$begin" seek="$begin" count=$((end - begin))
  done < <(ask --unit byte --format text)
  ask --format ddrescue -o changed.map
  ddrescue -q --force --domain-mapfile=changed.map new backup copied.map
  cmp expected backup
  ! cmp -s new backup || fail 'everything was copied'
  ddrescuelog -q --done-status --domain-mapfile=changed.map copied.map
  refused '--unit sector cannot be: ddrescue.s mapfiles count in bytes' ask --format ddrescue --unit sector
}

# So long a list is formatted in pieces.
@test "a long mapfile has the blocks of the list, and no gap" {
  awk 'BEGIN {
    print "<superblock uuid=\"\" block_size=\"8\" nr_blocks=\"120000\" current_era=\"2\"><era_array>"
    for (b = 0; b < 120000; b += 2)
      print "<era block=\"" b "\" era=\"1\"/><era block=\"" b + 1 "\" era=\"2\"/>"
    print "</era_array></superblock>" }' >long.xml
  truncate -s 2M long.img
  era_restore --quiet -i long.xml -o long.img
  era_invalidate --written-since 2 --format ddrescue -o long.map long.img
  # In a shell of its own, since bats traps every command of a test. A wrong line differs from the list.
  tail -n +3 long.map | bash -c '
    end=0
    while read -r begin size state; do
      ((begin == end)) || echo "a line begins at $begin, and the last one ends at $end"
      end=$((begin + size))
      [[ $state = "?" ]] || echo "$((begin)) $end"
    done
    ((end == 120000 * 4096)) || echo "the last line ends at $end"' >mapped
  era_invalidate --written-since 2 --format text --unit byte long.img | cmp - mapped
}

@test "damage: an error, and not a byte of output" {
  image full
  zero_block full.img "$(array_block full.img 200)"
  for format in xml text json; do
    refused 'full.img: is damaged: nothing is listed.*--repair' \
      era_invalidate --format $format --written-since 1 full.img
  done
  run -1 era_invalidate --written-since 1 -o list full.img
  [[ ! -e list ]]
}

@test "--repair lists what damage hides, and says how much that is" {
  image full
  written_in 4 $no_end full >sound
  block=$(array_block full.img 200) # it covers origin blocks 203600 to 204617
  zero_block full.img "$block"
  run -0 --separate-stderr era_invalidate --repair --format text --written-since 4 full.img
  [[ $output = *'203600 204618'* ]]
  [[ $stderr = *"metadata block $block: era array"* ]]
  inside=$(awk '$1 >= 203600 && $2 <= 204618 { n += $2 - $1 } END { print n + 0 }' sound)
  total=$(awk '{ n += $2 - $1 } END { print n }' <<<"$output")
  [[ $stderr = *"is damaged: $((1018 - inside)) of the $total blocks listed"* ]]
}

@test "a pointer to an outdated block is found by its reference count" {
  image many-eras
  root=$(superblock many-eras.img era_array_root)
  # A free block holds a sound array block, and the array's first pointer goes there.
  copy_block many-eras.img "$(array_block many-eras.img 5)" 2047
  poke many-eras.img $((2047 * 4096 + 16)) 8 2047
  prepare_for_write many-eras.img 2047 array
  poke many-eras.img "$(pointer_to many-eras.img "$root" 0)" 8 2047
  prepare_for_write many-eras.img "$root" node
  refused 'metadata block 2047: reference counts' era_invalidate --written-since 1 many-eras.img
  refused 'is damaged: nothing is listed' era_invalidate --written-since 1 many-eras.img
}

@test "--repair lists blocks of an unknown era in every window" {
  image crash
  zero_block crash.img "$(array_block crash.img 1)"
  run -0 --separate-stderr era_invalidate --repair --format text --written-since 1 \
    --written-before 2 crash.img
  same "$output" $'5 6\n7 8\n1020 2036'
  [[ $stderr = *'is damaged: 1016 of the 1018 blocks listed'* ]]
}

@test "without a superblock there is a list with --repair, and the block size" {
  image crash
  written_in 1 $no_end crash >sound
  zero_block crash.img 0
  refused 'is damaged: nothing is listed.*--repair' era_invalidate --written-since 1 crash.img
  refused 'give it with --block-size' era_invalidate --repair --written-since 1 crash.img
  run -0 --separate-stderr era_invalidate --repair --block-size 128 --format text \
    --written-since 1 crash.img
  same "$output" "$(cat sound)"
  [[ $stderr = *'assumed: the current era is 3'* ]]
  # Later eras may have begun, and nobody knows.
  refused 'era 4 may have begun, and the newest that is found is 3; give.*--current-era' \
    era_invalidate --repair --block-size 128 --written-since 4 crash.img
  run -0 --separate-stderr era_invalidate --repair --block-size 128 --current-era 4 --format text \
    --written-since 4 crash.img
}

@test "--repair looks for what a leaf without entries has cut off" {
  image grow
  written_in 1 $no_end grow >sound
  root=$(superblock grow.img writeset_tree_root)
  poke grow.img $((root * 4096 + 16)) 4 0 # its number of entries
  prepare_for_write grow.img "$root" node
  run -0 --separate-stderr era_invalidate --repair --format text --written-since 1 grow.img
  [[ $stderr = *'is damaged:'* ]]
  [[ -z $(comm -23 <(blocks <sound) <(blocks <<<"$output")) ]]
}

@test "--repair asks for a possible era after it has found the current one" {
  printf '%s\n' 'write 0 8' 'message checkpoint' 'write 640 8' 'message checkpoint' 'digest all' 'write 1280 8' \
    crash |
    era_sim --metadata m.img --create-metadata 1M --size 128M --digest manual
  [[ $(superblock m.img current_era) = 3 ]]
  poke m.img 184 4 1
  prepare_for_write m.img 0 superblock
  refused 'era 3 cannot have begun\|is damaged' era_invalidate --written-since 3 m.img
  run -0 --separate-stderr era_invalidate --repair --format text --written-since 3 m.img
  same "$output" '0 2048' # an era past the current one says that the superblock is outdated
  refused 'era 9 may have begun, .*--current-era' era_invalidate --repair --written-since 9 m.img
}

@test "options are checked" {
  image crash
  refused 'written-since' era_invalidate crash.img
  refused 'written-since' era_invalidate --written-since x crash.img
  refused 'written-since' era_invalidate --written-since -1 crash.img
  refused 'format' era_invalidate --format yaml --written-since 1 crash.img
  refused 'unit' era_invalidate --unit mile --written-since 1 crash.img
  refused 'holds no metadata snapshot' era_invalidate --metadata-snapshot --written-since 1 crash.img
  refused 'is the metadata itself' era_invalidate --written-since 1 -o crash.img crash.img
}

@test "output files and closed pipes" {
  image full
  era_invalidate --written-since 1 -o list full.img
  same "$(era_invalidate --written-since 1 full.img)" "$(<list)"
  run --separate-stderr bash -c 'era_invalidate --written-since 1 full.img | head -n 1'
  same '<blocks>' "$output"
  [[ -z $stderr ]]
  run -1 --separate-stderr bash -c 'era_invalidate --written-since 1 full.img >/dev/full'
  [[ $stderr = 'era_invalidate: cannot write standard output: No space left on device' ]]
}
