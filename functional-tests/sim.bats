#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_sim from outside: the scripts that a kernel was driven with give what it gave; traces; mistakes.
load helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

# sim ARGUMENT...: on m.img; the script comes from standard input.
sim() { era_sim --metadata m.img "$@" 2>err; }

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
random-writes 1 1 9 5|the first block 9 is behind the last 5
random-writes 1 1 0 99|block 99 is past the end; the device has 16
sequential-writes 17|blocks 0 to 17 are past the end
discard 4096 1|past the end
message foo|there is no message 'foo'
message drop_metadata_snap|there is no metadata snapshot
digest many|a number of steps, or all, is expected
reload 1X|'1X' is no number
status now|expected: status
S
}

@test "a suspended device takes no writes" {
  run -1 bash -c 'printf "suspend\nwrite 0 8\n" | era_sim --create-metadata 1M --size 1M --metadata m.img'
  [[ $output = *'standard input:2: the device is suspended'* ]]
}

@test "a full metadata device: an error, and what was written is listed" {
  printf 'random-writes 3000 3\nmessage checkpoint\nrandom-writes 3000 4\n' >script
  run -1 --separate-stderr era_sim --create-metadata 1120K --size 16G --block-size 128 --metadata m.img \
    --script script
  [[ $stderr = *'script:'*': m.img: no free metadata block is left'*'take a larger metadata device'* ]] ||
    fail "$stderr"
  run -0 era_check m.img
}

@test "blkparse's text is replayed" {
  cat >trace <<'T'
  8,0    3        1     0.000000000   697  Q   W 640 + 8 [kjournald]
  8,0    3        2     0.000001829   697  G   W 640 + 8 [kjournald]
  8,0    3        3     0.000002829   697  Q   R 0 + 8 [cat]
  8,0    3        4    10.100000000   697  Q  WS 1280 + 256 [dd]
  8,0    3        5    10.200000000   697  Q   D 6400 + 128 [fstrim]
  8,0    3        6    10.200000000   697  Q FWFSM 12800 + 8 [dd]
  8,0    3        7    10.200000000   697  C   W 640 + 8 [0]
CPU3 (8,0):
 Reads Queued:           1,        4KiB	 Writes Queued:           3,      136KiB

Total (8,0):
T
  run -0 --separate-stderr era_sim --create-metadata 1M --size 64M --metadata m.img --trace trace \
    --era-every 10s
  [[ $stderr = *'4 writes, '*'era 2,'* ]]
  run -0 era_invalidate --written-since 1 --format text m.img
  same "$output" $'5 6\n10 12\n50 51\n100 101'
  run -0 era_invalidate --written-since 2 --format text m.img
  same "$output" $'10 12\n50 51\n100 101'
}

@test "fio's iologs are replayed" {
  cat >v2 <<'T'
fio version 2 iolog
/dev/sda add
/dev/sda open
/dev/sda write 327680 4096
/dev/sda read 0 4096
/dev/sda wait 1500000
/dev/sda trim 6553600 65536
/dev/sda sync
/dev/sda write 65535 2
/dev/sda close
T
  cat >v3 <<'T'
fio version 3 iolog
0 /dev/sda add
0 /dev/sda open
1 /dev/sda write 327680 4096
1501 /dev/sda trim 6553600 65536
1502 /dev/sda datasync
1503 /dev/sda write 65535 2
1504 /dev/sda close
T
  for version in v2 v3; do
    rm -f m.img
    run -0 era_sim --create-metadata 1M --size 64M --metadata m.img --trace $version --era-every 1s
    run -0 era_invalidate --written-since 1 --format text m.img
    same "$output" $'0 2\n5 6\n100 101'
    run -0 era_invalidate --written-since 2 --format text m.img
    same "$output" $'0 2\n100 101'
  done
}

@test "eras of a trace end by writes and by blocks" {
  { echo 'fio version 2 iolog' && echo 'f add' &&
    for i in 0 1 1 1 1 1 2 3 4 5; do echo "f write $((i * 65536)) 4096"; done; } >trace
  for every in 2writes 2blocks; do
    rm -f m.img
    run -0 era_sim --create-metadata 1M --size 64M --metadata m.img --trace trace --era-every $every
    [[ $(superblock m.img current_era) = $([[ $every = 2writes ]] && echo 5 || echo 4) ]] ||
      fail "$every: $(superblock m.img current_era)"
  done
}

@test "bad traces are named by line" {
  while IFS='|' read -r head line expected; do
    printf '%s\n%s\n' "$head" "$line" >trace
    rm -f m.img
    run -1 --separate-stderr era_sim --create-metadata 1M --size 64M --metadata m.img --trace trace
    [[ $stderr = "era_sim: trace:2: "*"$expected"* ]] || fail "$head / $line: $stderr"
  done <<'T'
  8,0 3 1 0.0 697 Q R 0 + 8|hello|expected: MAJOR,MINOR CPU
  8,0 3 1 0.0 697 Q R 0 + 8|  8,0 3 2 0.1 697 Q W 8|expected: SECTOR + COUNT
  8,0 3 1 0.0 697 Q R 0 + 8|  8,0 3 2 x 697 Q W 8 + 8|'x' is no time
fio version 2 iolog|f write 1|expected: FILE write OFFSET LENGTH
fio version 2 iolog|f dance 1 1|'dance' is no action
fio version 3 iolog|f write 1 1|'f' is no time
fio version 2 iolog|f write 1000000000 512|past the end
T
  printf 'fio version 2 iolog\na add\nb add\n' >trace
  refused "trace:3: 'b' is a second file" era_sim --metadata m.img --size 64M --trace trace
  echo 'once upon a time' >trace
  refused "trace:1: this is neither blkparse's text nor a fio iolog" \
    era_sim --metadata m.img --trace trace --size 64M
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
  refused 'a block size of 12 sectors cannot be' \
    era_sim --metadata m.img --script /dev/null --size 1G --block-size 12
  era_sim --metadata m.img --script /dev/null --size 1G --block-size 64 2>/dev/null
  refused 'the metadata is for blocks of 64 sectors, not 128' \
    era_sim --metadata m.img --script /dev/null --block-size 128
  refused "'9' is no length of an era" \
    era_sim --metadata m.img --trace /dev/null --era-every 9
  refused 'requires --trace' era_sim --metadata m.img --era-every 9s
  refused 'nowhere: No such file' era_sim --metadata m.img --script nowhere
  refused "the origin cannot be opened: No such file" \
    era_sim --metadata m.img --script /dev/null --origin nowhere
}

@test "at a terminal it prompts, and a mistake is no end" {
  command -v script >/dev/null || skip 'there is no script(1) to make a terminal'
  printf 'write 0 8\nwrte\nstatus\nhelp\n' >typed
  run -0 script -qec 'era_sim --create-metadata 1M --size 1M --metadata m.img' /dev/null <typed
  [[ $output = *'era> '*"era_sim: there is no command 'wrte'; see help"*'0 2048 era 8 9/256 1 -'* ]]
  [[ $output = *'sequential-writes COUNT [FIRST]'* ]]
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '0 1' ]]
}
