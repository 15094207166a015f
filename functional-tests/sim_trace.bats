#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_sim with traces of blktrace and fio.
load helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

# sim ARGUMENT...: on m.img; the script comes from standard input.
sim() { era_sim --metadata m.img "$@" 2>err; }

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
fio version 2 iolog|f write 18446744073709551615 2|together past 2^64 bytes
fio version 2 iolog|f write 18446744073709551616 2|'18446744073709551616' is too large
  8,0 3 1 0.0 697 Q R 0 + 8|  8,0 3 2 0.1 697 Q W 18446744073709551615 + 2 [dd]|past the end
T
  echo 'once upon a time' >trace
  refused "trace:1: this is neither blkparse's text nor a fio iolog" \
    era_sim --metadata m.img --trace trace --size 64M
}

@test "flushes, packet commands and requeues of blkparse" {
  cat >trace <<'T'
  8,0    1        1     0.000000000   697  Q   W 640 + 8 [kjournald]
  8,0    1        2     0.000001000   697  D   W 640 + 8 [kworker/1:1H]
  8,0    1        3     0.000002000   697  R   W 640 + 8 [0]
  8,0    1        4     0.000003000   697  D   W 640 + 8 [kworker/1:1H]
  8,0    1       49     0.000184000   697  Q FWS [jbd2/sda1-8]
  8,0    1       50     0.000185000     0  C FWS 0 [0]
  8,0    1       51     0.000186000   700  Q   N 0 (12 00 00 00 24 00 ..) [smartd]
  8,0    1       52     0.000186000   700  Q   R 36 (12 00 00 00 24 00 ..) [smartd]
  8,0    1       52     0.000186000   700  Q   W 24 (15 10 00 00 18 00) [hdparm]
  8,0    1       53     0.000187000   697  Q  DS 1280 + 256 [fstrim]
  8,0    1       54     0.000188000   697  Q FWFS 6400 + 8 [jbd2/sda1-8]
T
  run -0 --separate-stderr era_sim --create-metadata 1M --size 64M --metadata m.img --trace trace
  [[ $stderr = 'era_sim: 3 writes, '* ]] || fail "$stderr"
  same "$(era_invalidate --written-since 1 --format text m.img)" $'5 6\n10 12\n50 51'
}

@test "of a trace with several devices one is replayed" {
  cat >trace <<'T'
  8,0    1        1     0.000000000   697  Q   W 640 + 8 [dd]
  8,16   1        2     0.000001000   697  Q   W 1280 + 8 [dd]
T
  printf 'fio version 2 iolog\n/dev/a add\n/dev/b add\n/dev/a write 327680 1\n/dev/b write 655360 1\n' >iolog
  sim=(era_sim --metadata m.img --create-metadata 1M --size 64M)
  refused "trace:2: the trace has several devices, '8,0' and '8,16'; choose one with --trace-device" \
    "${sim[@]}" --trace trace
  rm m.img
  refused "iolog:3: the trace has several devices, '/dev/a' and '/dev/b'; choose one with --trace-device" \
    "${sim[@]}" --trace iolog
  [[ ! -e m.img ]]
  while read -r trace device expected; do
    run -0 "${sim[@]}" --trace "$trace" --trace-device "$device"
    same "$(era_invalidate --written-since 1 --format text m.img)" "$expected"
    rm m.img
  done <<'S'
trace 8,0 5 6
trace 8,16 10 11
iolog /dev/a 5 6
iolog /dev/b 10 11
S
  refused "trace:2: there is no device '8,1' in the trace; there is '8,0'" \
    "${sim[@]}" --trace trace --trace-device 8,1
  [[ ! -e m.img ]]
  refused '--trace-device has no effect without --trace' era_sim --metadata m.img --trace-device 8,0
}
