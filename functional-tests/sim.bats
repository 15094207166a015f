#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_sim from outside: the scripts that a kernel was driven with give what it gave; mistakes.
load helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

# sim ARGUMENT...: on m.img; the script comes from standard input.
sim() { era_sim --metadata m.img "$@" 2>err; }

# A test that failed leaves no device behind.
teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q mounted || umount mounted
  [[ ! -e loop ]] || losetup --detach "$(<loop)"
}


# script_of NAME: what the kernel's log says, in parts that end where the power went: part.1, part.2 ...
script_of() {
  awk '
    BEGIN { part = 1; out = "part.1" }
    { sub(/\r$/, "") }
    $1 == "#" { print "crash" >out; close(out); out = "part." ++part; fresh = 1; next }
    $1 == "U" { if (size && !fresh) { print "suspend"  >out; print "reload", $2 * BS >out; print "resume" >out }
                size = $2; fresh = 0; next }
    $1 == "W" && NF == 6 { if ($4 == "run") print "sequential-writes", $6, $5 >out
                           else print "random-writes", $6, $5 >out }
    $1 == "M" || $1 == "E" { print "message", $2 >out }
    $1 == "S" { print "status" >out }
    $1 == "D" { clean = 1 }
    END { if (!clean && !fresh) print "crash" >out }' BS="$2" "$tests/kernel-images/$1.log"
}

@test "the kernel's scripts give the kernel's answers and metadata" {
  for name in "${images[@]}"; do
    [[ $name != full ]] || continue # it ended in the middle of a command; the unit tests have it
    image "$name" && rm -f m.img part.*
    size=$(peek "$name.img" 172 4)
    script_of "$name" "$size"
    length=$(sed -n '2s/^S 0 \([0-9]*\) .*/\1/p' "$tests/kernel-images/$name.log")
    create=(--create-metadata "$(($(stat -c %s "$name.img") / 1024))K")
    create+=(--size "$length" --block-size "$size")
    : >lines
    for part in part.*; do
      # A bad message is refused, and the script would end there.
      grep -v '^message foo' "$part" >script || true
      run -0 --separate-stderr era_sim --metadata m.img "${create[@]}" --script script
      [[ -z $output ]] || printf '%s\n' "$output" >>lines
      create=()
    done
    # Length, era, and whether there is a snapshot.
    fields() { awk '{ print $2, $6, ($7 == "-" ? "-" : "held") }' "$1"; }
    sed -n 's/^S //p' "$tests/kernel-images/$name.log" | grep -v Error >kernel
    diff <(fields kernel) <(fields lines) || fail "$name: status"
    run -0 era_check m.img
    cmp <(era_dump --logical "$name.img") <(era_dump --logical m.img) || fail "$name: dump"
    [[ $(superblock m.img metadata_snap) = 0 ]] ||
      cmp <(era_dump --logical --metadata-snapshot "$name.img") \
        <(era_dump --logical --metadata-snapshot m.img)
  done
}

@test "every command" {
  cat >script <<'S'
    # a comment, and an empty line

write 640 64          # block 5
status
table
message checkpoint
random-writes 10 7
random-writes 10 7 100 200
sequential-writes 3
sequential-writes 3 50
discard 128 256
flush
message TAKE_metadata_snap
status
digest 2
digest all
message drop_metadata_snap
suspend
reload 200M
resume
status
help
S
  run -0 --separate-stderr era_sim --create-metadata 4M --size 128M --metadata m.img --script script
  [[ ${lines[0]} = '0 262144 era 8 11/1024 1 -' ]]
  [[ ${lines[1]} = '0 262144 era m.img - 128' ]]
  [[ ${lines[2]} = '0 262144 era 8 '*'/1024 3 '[0-9]* ]]
  [[ ${lines[3]} = '0 409600 era 8 '*'/1024 4 -' ]]
  [[ $output = *'digest STEPS|all'* ]]
  [[ $stderr = 'era_sim: '*' writes, '*' commits, '*' blocks marked, era 4, '*'/s' ]]
  run -0 era_check m.img
  run -0 era_invalidate --written-since 1 --written-before 2 --format text m.img
  [[ -z $output ]] || same "$output" '5 6'
  run -0 era_invalidate --written-since 2 --format text m.img
  [[ $output = *$'\n50 53\n'* ]]
}

@test "a script on standard input, and a crash" {
  printf 'write 0 8\ncrash\nwrite 128 8\n' | sim --create-metadata 1M --size 1M
  grep -q 'stopped as if the power was cut' err
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '0 1' ]]
  echo status | sim >out
  [[ $(cut -d' ' -f6 out) = 2 ]]
}

@test "data goes to the origin" {
  truncate -s 4M origin.img
  printf 'write 256 16\ndiscard 256 8\n' | sim --create-metadata 1M --origin origin.img
  cmp -n $((256 * 512 + 4096)) origin.img /dev/zero
  [[ $(peek origin.img $((264 * 512)) 8) = 264 ]]
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '2 3' ]]
}

@test "a bad line is named, and what was before it is kept" {
  printf 'write 0 8\nmessage checkpoint\n\nwrte 128 8\nwrite 256 8\n' >script
  run -1 --separate-stderr era_sim --create-metadata 1M --size 1M --metadata m.img --script script
  [[ $stderr = "era_sim: script:4: there is no command 'wrte'; see help" ]]
  run -0 era_check m.img
  [[ $(superblock m.img current_era) = 2 ]]
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '0 1' ]]
  # Digestion, too, which commits nothing itself.
  printf 'message checkpoint\ndigest 2\nwrte\n' >script
  run -1 era_sim --digest manual --metadata m.img --script script
  [[ $(era_dump m.img) != *'<writeset era="1"'* ]]
  while IFS='|' read -r line expected; do
    printf 'status\n%s\n' "$line" >script
    run -1 --separate-stderr era_sim --metadata m.img --script script
    [[ $stderr = "era_sim: script:2: "*"$expected"* ]] || fail "$line: $stderr"
  done <<'S'
write 1|expected: write SECTOR COUNT
write x 1|'x' is no number; a sector is expected
write 1 2 3|expected: write SECTOR COUNT
write 2047 2|past the end of the device, which has 2048
random-writes 1 0|a seed is not 0
random-writes 1 1 5|expected: random-writes COUNT SEED [FIRST LAST]
random-writes 1 1 9 5|the first block 9 is after the last 5
random-writes 1 1 0 99|block 99 is past the end; the device has 16
sequential-writes 17|17 blocks from block 0 would be past the end
discard 4096 1|past the end
message foo|there is no message 'foo'
message drop_metadata_snap|there is no metadata snapshot
digest many|a number of steps, or all, is expected
digest 0|a count is above 0
write 0 0|a count is above 0
discard 0 0|a count is above 0
random-writes 0 1|a count is above 0
sequential-writes 0|a count is above 0
reload 0|a size is above 0
reload 4.5M|'4.5M' is no number of sectors and no size
reload 16777216T|'16777216T' is too large
quit now|expected: quit
reload 1X|'1X' is no number
status now|expected: status
S
}

@test "a command that has to be refused" {
  new=(--create-metadata 1M --size 128M --script workload)
  printf '%s\n' 'write 0 8' '! write 262144 8' '!message none' ' ! fly 5 # unknown' '! write 0' \
    'message checkpoint' '!message drop_metadata_snap' 'write 1280 8' >workload
  run -0 era_sim --metadata sim.img "${new[@]}"
  same $'0 1\n10 11' "$(era_invalidate --written-since 1 --format text sim.img)"
  for line in 'write  2560 16 # fine' flush crash quit '' '# nothing'; do
    printf '%s\n' 'write 2560 8' "! $line" 'write 3840 8' >workload
    words=${line%%#*} && words=${words//  / } && words=${words% }
    rm -f sim.img
    why="'$words' was not refused"
    [[ $words ]] || why="no command comes after '!'"
    refused "workload:2: $why" era_sim --metadata sim.img "${new[@]}"
    same '20 21' "$(era_invalidate --written-since 1 --format text sim.img)" || fail "$line"
  done
}

@test "a suspended device takes no writes" {
  run -1 bash -c 'printf "suspend\nwrite 0 8\n" | era_sim --create-metadata 1M --size 1M --metadata m.img'
  [[ $output = *'standard input:2: the device is suspended'* ]]
}

@test "a full metadata device: an error, and what was written is listed" {
  printf 'random-writes 3000 3\nmessage checkpoint\nrandom-writes 3000 4\n' >script
  run -1 --separate-stderr era_sim --create-metadata 1180K --size 16G --block-size 128 --metadata m.img \
    --script script
  [[ $stderr = *'script:'*': m.img: '*'take a larger metadata device'* ]] ||
    fail "$stderr"
  run -0 era_check m.img
}

# --- Commits.

# commits LINE...: how many commits a script takes beyond one without commands.
commits() {
  local all none
  all=$(printf '%s\n' "$@" | run_simulation) && none=$(run_simulation </dev/null) && echo $((all - none))
}
run_simulation() {
  rm -f new.img
  era_sim --metadata new.img --create-metadata 4M --size 1G 2>&1 | sed -n 's/.* \([0-9]*\) commits.*/\1/p'
}

@test "one write line is one commit" {
  [[ $(commits 'flush') = 0 ]]
  [[ $(commits 'write 0 8') = 1 ]]
  [[ $(commits 'write 0 262144') = 1 ]]
  [[ $(commits 'write 0 262144' 'write 8 2000') = 1 ]]
  [[ $(commits 'write 0 262144' 'discard 100000 1000000') = 2 ]]
  [[ $(commits 'random-writes 10 1 0 1000') = 10 ]]
}

@test "a write past the end changes nothing" {
  truncate -s 128M origin.img
  for line in 'write 0 262145' 'write 262143 2' 'discard 1 262144'; do
    rm -f m.img
    echo 'write 128 8' | sim --create-metadata 1M --origin origin.img
    echo "$line" >script
    refused "script:1: .* would be past the end of the device, which has 262144" \
      era_sim --metadata m.img --origin origin.img --script script
    same "$(era_invalidate --written-since 1 --format text m.img)" '1 2'
    [[ $(peek origin.img 0 8) = 0 ]]
  done
}

# --- What is left behind.

@test "a file that is created goes away again if nothing was done" {
  mkdir directory
  truncate -s 1M origin.img
  printf 'wrte 0 8\n' >bad
  : >good
  create=(era_sim --metadata m.img --create-metadata 4M)
  while read -r -a arguments; do
    run -1 "${create[@]}" "${arguments[@]}"
    [[ ! -e m.img ]] || fail "${arguments[*]}: m.img is left"
  done <<'S'
--script nowhere --size 1G
--trace nowhere --size 1G
--script directory --size 1G
--script bad --size 1G
--trace bad --size 1G
--script good
--script good --size 1T
--script good --size 1G --block-size 12
--script good --origin nowhere
--script good --origin directory
--script good --origin origin.img --size 2M
--script good --origin m.img
--script good --size 1G --create-metadata 1M
--script good --size nothing
--script good --size 0
S
  run -1 bash -c "ulimit -f 100; ${create[*]} --size 1G --script good"
  [[ $output = *'m.img: cannot be created with a size of 4194304 bytes: File too large'* ]]
  [[ ! -e m.img ]]
  # Or work was done on it, or nothing was wrong.
  printf 'write 0 8\nwrte\n' >bad
  run -1 "${create[@]}" --size 1G --script bad
  same "$(era_invalidate --written-since 1 --format text m.img)" '0 1'
  rm m.img
  "${create[@]}" --size 1G --script good
  run -0 era_check m.img
}

@test "the origin is not the metadata, and not smaller than the device" {
  sim --create-metadata 4M --size 1M </dev/null
  cp m.img before.img
  ln m.img hard.img && ln -s m.img soft.img
  for origin in m.img ./m.img hard.img soft.img; do
    refused "$origin: is the metadata, and cannot be the origin, too" \
      era_sim --metadata m.img --origin "$origin" --script /dev/null
  done
  truncate -s 1M origin.img && truncate -s 511 tiny.img && truncate -s 4M zeros.img
  for metadata in m.img zeros.img; do
    cp $metadata $metadata.before
    refused "origin.img: the origin has 2048 sectors, and the device would have 2049" \
      era_sim --metadata $metadata --origin origin.img --size 2049 --script /dev/null
    refused "tiny.img: the origin is smaller than a sector" \
      era_sim --metadata $metadata --origin tiny.img --script /dev/null
    cmp $metadata $metadata.before
  done
  cmp m.img before.img
  printf 'suspend\nreload 1025K\nresume\nwrite 2048 2\n' >script
  refused 'script:2: origin.img: the origin has 2048 sectors, and the device would have 2050' \
    era_sim --metadata m.img --origin origin.img --script script
  [[ $(stat -c %s origin.img) = $((1 << 20)) ]]
  [[ $(stat -c %s tiny.img) = 511 ]]
}

@test "a block device is an origin unless it is mounted" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  head -c 1M /dev/zero >fs.img
  mke2fs -q fs.img
  before=$(sha256sum fs.img)
  loop=$(losetup --find --show fs.img) || skip 'no loop device to be had'
  echo "$loop" >loop
  mkdir mounted
  mount -r "$loop" mounted || skip 'may not mount'
  echo 'write 0 8' >script
  refused "$loop: is in use: mounted, or held by device-mapper; stop its user first" \
    era_sim --metadata m.img --create-metadata 1M --origin "$loop" --script script
  [[ ! -e m.img ]]
  refused "$loop: is in use: mounted" era_sim --metadata "$loop" --size 1M --script script
  umount mounted
  [[ $(sha256sum fs.img) = "$before" ]]
  refused "$loop: the origin has 2048 sectors, and the device would have 2049" \
    era_sim --metadata m.img --create-metadata 1M --origin "$loop" --size 2049 --script script
  printf 'write 2040 8\ndiscard 0 8\n' | sim --create-metadata 1M --origin "$loop"
  [[ $(peek "$loop" $((2047 * 512)) 8) = 2047 ]]
  head -c 1M /dev/zero | dd of="$loop" status=none conv=notrunc
  refused "$loop: is the metadata, and cannot be the origin, too" \
    era_sim --metadata "$loop" --origin "$loop" --script script
}

@test "damaged metadata is named with its way out" {
  sim --create-metadata 1M --size 1M <<<'random-writes 1 9'
  cp m.img good.img
  # All but the superblock is lost.
  dd if=/dev/zero of=m.img bs=4096 seek=1 count=255 conv=notrunc status=none
  refused 'm.img: .*metadata block [0-9]*: .*; see era_check$' era_sim --metadata m.img --script /dev/null
  # What a line needs is lost.
  cp good.img m.img
  zero_block m.img $(($(od -An -t u8 -j 200 -N 8 m.img)))  # the root of the writeset tree
  echo message checkpoint >script
  refused 'script:1: .*; see era_check$' era_sim --metadata m.img --script script
}

@test "only a first block of zeros is unformatted" {
  sim --create-metadata 1M --size 1M </dev/null
  cp m.img good.img
  poke m.img 200 1 99
  cp m.img before.img
  refused 'm.img: superblock (block 0): the checksum does not match the content' \
    era_sim --metadata m.img --size 1M --script /dev/null
  refused 'm.img: superblock (block 0): the checksum does not match the content' \
    era_sim --metadata m.img --script /dev/null
  printf '<superblock uuid=""' | dd of=m.img conv=notrunc status=none
  poke m.img 32 8 0
  refused 'm.img: superblock (block 0): it is XML' era_sim --metadata m.img --script /dev/null
  cp good.img m.img && poke m.img 40 4 2 && prepare_for_write m.img 0 superblock
  refused 'has version 2; only version 1 is known' era_sim --metadata m.img --script /dev/null
  zero_block m.img 0
  refused 'm.img: is not formatted; give the size' era_sim --metadata m.img --script /dev/null
}

@test "the uuid becomes zeros, as with the kernel" {
  sim --create-metadata 1M --size 1M </dev/null
  poke m.img 16 8 12345
  prepare_for_write m.img 0 superblock
  run -0 era_check m.img
  sim </dev/null
  [[ $(peek m.img 16 8) = 0 ]]
}

# --- Messages.

@test "what a terminal would obey does not get into messages" {
  local wild=$'\e[31m\x9b\a'
  for line in "$wild" "write $wild 1" "message $wild" "reload $wild" "digest $wild" "write 0 8 $wild"; do
    printf '%s\n' "$line" >script
    run -1 --separate-stderr era_sim --metadata m.img --create-metadata 1M --size 1M --script script
    rm -f m.img
    [[ $stderr = 'era_sim: script:1: '* ]] || fail "$stderr"
    ! grep -q '[^ -~]' <(LC_ALL=C cat <<<"$stderr") || fail "$line: $(cat -v <<<"$stderr")"
  done
  for line in "$wild" "8,0 3 1 0.0 697 Q $wild 0 + 8" "8,0 3 1 $wild 697 Q W 0 + 8" "8,0 3 1 0.0 697 Q W $wild + 8"; do
    printf '8,0 3 1 0.0 697 Q R 0 + 8\n%s\n' "$line" >trace
    run -1 --separate-stderr era_sim --metadata m.img --create-metadata 1M --size 1M --trace trace
    rm -f m.img
    [[ $stderr = 'era_sim: trace:2: '* ]] || fail "$stderr"
    ! LC_ALL=C grep -q '[^ -~]' <<<"$stderr" || fail "$line: $(cat -v <<<"$stderr")"
  done
  printf 'fio version 2 iolog\na write 0 1\n%s write 0 1\n' "$wild" >trace
  run -1 --separate-stderr era_sim --metadata m.img --create-metadata 1M --size 1M --trace trace
  ! LC_ALL=C grep -q '[^ -~]' <<<"$stderr" || fail "$(cat -v <<<"$stderr")"
}

@test "lines that are no text" {
  sim --create-metadata 1M --size 1M </dev/null
  printf 'write 0 8\0\n' >script
  refused 'script:1: the line has a NUL byte: it is no text' era_sim --metadata m.img --script script
  { echo 'status' && head -c 100000 /dev/zero | tr '\0' x; } >script
  run -1 --separate-stderr era_sim --metadata m.img --script script
  [[ $stderr = 'era_sim: script:2: the line is longer than 65536 bytes' ]]
  mkdir directory
  refused 'directory: cannot be read: Is a directory' era_sim --metadata m.img --script directory
  printf 'write 128 8' | sim
  same "$(era_invalidate --written-since 1 --format text m.img)" '1 2'
}

@test "quit and exit end a script as its end does" {
  for word in quit exit; do
    rm -f m.img
    printf 'write 0 8\n%s\nwrite 128 8\n' $word | sim --create-metadata 1M --size 1M
    grep -q '1 writes' err
    [[ $(superblock m.img current_root) = 0 ]]
    same "$(era_invalidate --written-since 1 --format text m.img)" '0 1'
  done
}

@test "usage" {
  refused '--metadata is required' era_sim
  refused 'm.img: is not there; make it so large first' era_sim --metadata m.img --script /dev/null
  truncate -s 1M m.img
  refused 'is not formatted; give the size of the device with --size' \
    era_sim --metadata m.img --script /dev/null
  refused 'is too small for 16777216 origin blocks.*truncate -s 146M m.img' \
    era_sim --metadata m.img --script /dev/null --size 1T
  refused 'm.img: is there already' \
    era_sim --metadata m.img --script /dev/null --size 1G --create-metadata 1M
  refused 'use --create-metadata 146M' \
    era_sim --metadata n.img --script /dev/null --size 1T --create-metadata 1M
  [[ ! -e n.img ]]
  refused '--block-size: 12 is not a multiple of 8 above 0' \
    era_sim --metadata m.img --script /dev/null --size 1G --block-size 12
  era_sim --metadata m.img --script /dev/null --size 1G --block-size 64 2>/dev/null
  refused 'the metadata is for blocks of 64 sectors, not 128' \
    era_sim --metadata m.img --script /dev/null --block-size 128
  for option in --script --trace --origin --size --create-metadata --block-size --era-every; do
    refused "$option: its value is empty" era_sim --metadata m.img $option ''
  done
  for every in 9 0s 0x8s +1s 1.5s ' 1s'; do
    refused "'$every' is no length of an era" \
      era_sim --metadata m.img --trace /dev/null --era-every "$every"
  done
  run -0 era_sim --metadata m.img --trace /dev/null --era-every 08s
  for size in 4.5M 10k +5 ' 5' 0x10 M; do
    refused "--size: '$size' is no number of sectors and no size" \
      era_sim --metadata m.img --script /dev/null --size "$size"
    refused "--create-metadata: '$size' is no number of sectors and no size" \
      era_sim --metadata n.img --script /dev/null --size 1G --create-metadata "$size"
  done
  refused '--size: a size is above 0' era_sim --metadata m.img --script /dev/null --size 0
  refused "--size: '16777216T' is too large" \
    era_sim --metadata m.img --script /dev/null --size 16777216T
  refused "--create-metadata: '99999999T' is too large" \
    era_sim --metadata n.img --script /dev/null --size 1G --create-metadata 99999999T
  refused '--create-metadata: metadata of 33554432 sectors cannot be made' \
    era_sim --metadata n.img --script /dev/null --size 1G --create-metadata 16G
  refused '--create-metadata: metadata has at least 8 sectors (4K)' \
    era_sim --metadata n.img --script /dev/null --size 1G --create-metadata 3K
  for number in 0x40 +64 64K 64.0; do
    refused "--block-size: '$number' is not a decimal number" \
      era_sim --metadata m.img --script /dev/null --block-size "$number"
  done
  refused '--block-size: 4294967296 is too large' \
    era_sim --metadata m.img --script /dev/null --block-size 4294967296
  run -0 era_sim --metadata m.img --script /dev/null --block-size 0064
  [[ ! -e n.img ]]
  refused '--era-every has no effect without --trace' era_sim --metadata m.img --era-every 9s
  refused 'nowhere: No such file' era_sim --metadata m.img --script nowhere
  refused "nowhere: No such file or directory" \
    era_sim --metadata m.img --script /dev/null --origin nowhere
}
