#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# No command reads exclusively, or writes, a file that somebody else uses; and an output is
# never the input, by whatever name or device.
# shellcheck disable=SC2030,SC2031,SC2086,SC2094,SC2154  # tests are subshells, commands words
load helpers

# attach FILE [OPTION...]: sets loop to a loop device on the file, or skips the test.
attach() {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  loop=$(losetup --find --show "${@:2}" "$1") || skip 'no loop device to be had'
  echo "$loop" >>loops
}

teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q mounted || umount mounted
  [[ ! -e loops ]] || tac loops | xargs -n 1 losetup --detach
}

# unchanged FILE COMMAND...: the command is run, and leaves the file as it is.
unchanged() {
  local before
  before=$(sha256sum <"$1")
  "${@:2}"
  same "$before" "$(sha256sum <"$1")"
}

# A file of metadata, its dump, and another file that metadata fits in.
files() {
  image crash
  era_dump --compact -o x.xml crash.img
  truncate -s 4M other.img
}

# --- The same storage.

@test "a repair is never written to its input, through a loop device or under it" {
  files
  attach crash.img
  unchanged crash.img refused "^era_repair: $loop: is the damaged metadata itself" \
    era_repair -i crash.img -o "$loop"
  unchanged crash.img refused '^era_repair: crash.img: is the damaged metadata itself' \
    era_repair -i "$loop" -o crash.img
  first=$loop
  attach crash.img
  unchanged crash.img refused "^era_repair: $loop: is the damaged metadata itself" \
    era_repair -i "$first" -o "$loop"
  # A device that does not overlap the input is another one.
  attach other.img
  run -0 era_repair -q -i "$first" -o "$loop"
  run -0 era_check "$loop"
}

@test "parts of one file are apart if they do not overlap" {
  files
  truncate -s 4M both.img
  cat crash.img >>both.img
  attach both.img --offset 4194304
  second=$loop
  attach both.img --sizelimit 4194304
  run -0 era_repair -q -i "$second" -o "$loop"
  run -0 era_check "$loop"
  run -0 era_check "$second"
  attach both.img --offset 4190208
  refused 'is the damaged metadata itself' era_repair -q -i "$second" -o "$loop"
}

@test "a restore is never written to its XML" {
  files
  attach x.xml
  unchanged x.xml refused "^era_restore: $loop: is the XML itself" era_restore -i x.xml -o "$loop"
  unchanged x.xml refused "^era_restore: $loop: is the XML itself" era_restore -i - -o "$loop" <x.xml
}

@test "a dump or a list is never written to its metadata" {
  files
  attach crash.img
  for command in era_dump 'era_invalidate --written-since 1'; do
    unchanged crash.img refused "$loop: is the metadata itself" $command -o "$loop" crash.img
    unchanged crash.img refused 'crash.img: is the metadata itself' $command -o crash.img "$loop"
  done
}

@test "nor when it is standard output" {
  files
  for command in era_dump 'era_invalidate --written-since 1'; do
    for option in '' '-o -' '-o /dev/stdout'; do
      # shellcheck disable=SC2016
      unchanged crash.img run -1 --separate-stderr bash -c "$command $option crash.img 1<>crash.img"
      [[ $stderr = *' is the metadata itself; name another output' ]] || fail "$stderr"
    done
  done
}

@test "nothing that is read or written is standard error" {
  files
  cp crash.img copy.img
  for command in 'era_check copy.img' 'era_dump copy.img' 'era_invalidate --written-since 1 copy.img' \
    'era_repair -i crash.img -o copy.img' 'era_restore -i x.xml -o copy.img' \
    'era_sim --metadata copy.img --script /dev/null' 'era_invalidate --repair --written-since 1 copy.img'; do
    run -1 bash -c "$command 2<>copy.img"
    [[ -z $output ]] || fail "$output"
    cmp crash.img copy.img || fail "$command"
  done
}

@test "an origin is neither the metadata nor the script, by any name" {
  files
  seq 0 8 4000 | sed 's/.*/write & 8/' >script
  attach script
  for origin in script "$loop"; do
    unchanged script refused "^era_sim: $origin: is the script, and cannot be the origin, too" \
      era_sim --metadata crash.img --origin "$origin" --script script
    unchanged script refused "^era_sim: $origin: is the script, and cannot be the origin, too" \
      era_sim --metadata crash.img --origin "$origin" <script
  done
  attach crash.img
  unchanged crash.img refused "^era_sim: $loop: is in use\|^era_sim: crash.img: is in use" \
    era_sim --metadata crash.img --origin "$loop" --script script
}

# --- Loop devices.

@test "a file that a loop device lies on is not written" {
  files
  attach other.img
  in_use="^era_[a-z]*: other.img: is in use: $loop lies on it; detach that first: losetup --detach $loop$"
  unchanged other.img refused "$in_use" era_restore -i x.xml -o other.img
  unchanged other.img refused "$in_use" era_repair -i crash.img -o other.img
  unchanged other.img refused "$in_use" era_dump -o other.img crash.img
  unchanged other.img refused "$in_use" era_invalidate --written-since 1 -o other.img crash.img
  echo 'write 0 8' >script
  unchanged other.img refused "$in_use" era_sim --metadata crash.img --origin other.img --script script
  unchanged other.img refused "$in_use" era_sim --metadata other.img --size 1M --script script
}

@test "a file that a loop device lies on is read if nobody writes the device" {
  files
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  attach crash.img
  run -0 era_check crash.img
  run -0 era_dump crash.img
  losetup --detach "$loop"
  : >loops
  # A file system that is mounted for writing.
  truncate -s 4M fs.img
  mke2fs -q fs.img
  attach fs.img
  mkdir mounted
  mount "$loop" mounted || skip 'may not mount'
  refused "^era_check: fs.img: is in use: $loop lies on it, and is mounted" era_check fs.img
  umount mounted
  refused 'superblock' era_dump fs.img
}

@test "a block device in use is not written" {
  files
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  truncate -s 4M fs.img
  mke2fs -q fs.img
  attach fs.img
  mkdir mounted
  mount -r "$loop" mounted || skip 'may not mount'
  in_use="^era_[a-z]*: $loop: is in use: mounted, or held by device-mapper; stop its user first"
  for command in 'era_dump -o' 'era_invalidate --written-since 1 -o' 'era_repair -q -i crash.img -o'; do
    case $command in
      *-i*) unchanged fs.img refused "$in_use" $command "$loop" ;;
      *) unchanged fs.img refused "$in_use" $command "$loop" crash.img ;;
    esac
  done
  unchanged fs.img refused "$in_use" era_restore -i x.xml -o "$loop"
  umount mounted
  era_dump -o "$loop" crash.img
  cmp -n "$(era_dump crash.img | wc -c)" "$loop" <(era_dump crash.img)
}

# --- Locks.

# open_image FILE OPTION...: a qemu tool has the image open, as a virtual machine has.
open_image() {
  command -v qemu-io >/dev/null || skip 'needs qemu-io (Debian package qemu-utils)'
  coproc qemu-io -f raw "${@:2}" "$1"
  # It has locked the image when it answers.
  # shellcheck disable=SC2154
  echo length >&"${COPROC[1]}"
  read -r -t 60 -u "${COPROC[0]}" answer && [[ $answer = *MiB ]]
}
close_image() {
  local pid=$COPROC_PID
  echo quit >&"${COPROC[1]}"
  wait "$pid"
}

@test "an image that a virtual machine writes is neither read nor written" {
  files
  locked='is in use: another program, such as a virtual machine, holds a lock on it; stop that first$'
  open_image crash.img
  for command in era_check era_dump 'era_invalidate --written-since 1' 'era_repair -q -o other.img -i'; do
    unchanged crash.img refused "crash.img: $locked" $command crash.img
  done
  unchanged crash.img refused "crash.img: $locked" era_restore -i x.xml -o crash.img
  close_image
  run -0 era_check crash.img
  open_image other.img
  for command in 'era_repair -q -i crash.img' 'era_restore -i x.xml'; do
    unchanged other.img refused "other.img: $locked" $command -o other.img
  done
  echo 'write 0 8' >script
  unchanged other.img refused "other.img: $locked" \
    era_sim --metadata crash.img --origin other.img --script script
  unchanged other.img refused "other.img: $locked" era_sim --metadata other.img --script script
  for command in era_dump 'era_invalidate --written-since 1'; do
    unchanged other.img refused "other.img: $locked" $command -o other.img crash.img
  done
  close_image
  era_restore -i x.xml -o other.img
}

@test "an image that a virtual machine reads is read, and not written" {
  files
  open_image crash.img -r
  run -0 era_check crash.img
  unchanged crash.img refused 'crash.img: is in use' era_restore -i x.xml -o crash.img
  close_image
}

# --- Mapped devices and partitions, under a real kernel.

@test "what lies on a disk, and what a disk lies on" {
  files
  truncate -s 16M disk.img parts.img
  # A partition table: two partitions of 8192 sectors.
  poke parts.img 510 2 $((0xaa55))
  for n in 0 1; do
    poke parts.img $((446 + 16 * n + 4)) 1 $((0x83))
    poke parts.img $((446 + 16 * n + 8)) 4 $((2048 + 8192 * n))
    poke parts.img $((446 + 16 * n + 12)) 4 8192
  done
  cat >script <<'S'
map() { dmsetup create "$1" --table "0 8192 linear $2"; }
repair() {
  era_tools repair -q -i "/dev/$1" -o "/dev/$2" 2>errors
  echo "$1 -> $2: $? $(cat errors)"
}
map input '/dev/vda 0'
map low '/dev/vdb 0'
map high '/dev/vdb 8192'
map top '/dev/mapper/high 0'
repair mapper/input vda
repair vda mapper/input
repair mapper/input mapper/low
repair mapper/low mapper/top
repair mapper/top mapper/high
repair mapper/top vdb
repair mapper/high mapper/low
repair mapper/input vdc1
repair vdc1 vdc2
repair vdc2 vdc
repair vdc vdc1
era_tools check /dev/vdc2 | tail -n 1
era_tools dump -o /dev/vdb /dev/vdc2 2>&1
era_tools dump -o /dev/vdc2 /dev/vdc2 2>&1
S
  programs=era_tools run "$tests/kernel/boot" script crash.img disk.img parts.img
  [[ $status != 77 ]] || skip "$output"
  itself='is the damaged metadata itself, which is never written to; name another output'
  in_use='is in use: mounted, or held by device-mapper; stop its user first'
  same "mapper/input -> vda: 1 era_repair: /dev/vda: $itself
vda -> mapper/input: 1 era_repair: /dev/vda: $in_use, or read the metadata snapshot of a live device (--metadata-snapshot)
mapper/input -> mapper/low: 0 
mapper/low -> mapper/top: 0 
mapper/top -> mapper/high: 1 era_repair: /dev/mapper/high: $itself
mapper/top -> vdb: 1 era_repair: /dev/vdb: $itself
mapper/high -> mapper/low: 1 era_repair: /dev/mapper/high: $in_use, or read the metadata snapshot of a live device (--metadata-snapshot)
mapper/input -> vdc1: 0 
vdc1 -> vdc2: 0 
vdc2 -> vdc: 1 era_repair: /dev/vdc: $itself
vdc -> vdc1: 1 era_repair: /dev/vdc1: $itself
found: nothing wrong
era_dump: /dev/vdb: $in_use
era_dump: /dev/vdc2: is the metadata itself; name another output" "$output"
}
