# SPDX-License-Identifier: GPL-3.0-or-later
# For tests of era_backup: a simulated device, and its nights.
# shellcheck shell=bash

# simulate LINE...: commands for the device of 16 MiB whose metadata is m.img and whose data is origin.
simulate() { printf '%s\n' "$@" | era_sim --metadata m.img --origin origin --script - 2>err >/dev/null; }

# device: a new one, with 256 blocks. What is to be seen is in documents for which the test needs jq.
device() {
  command -v jq >/dev/null || skip 'needs jq'
  # Data and zeros by turns.
  head -c 16M /dev/urandom >origin
  for at in 1 5 9 77 78 200; do fallocate -p -o $((at * 65536)) -l 65536 origin; done
  era_sim --metadata m.img --create-metadata 4M --origin origin --size 16M --script - \
    >/dev/null 2>err <<<'sequential-writes 3 200'
}

# backup ARGUMENT...: with the state in the file `state`.
backup() { era_backup --metadata m.img --source origin --state state "$@"; }

# first_night: a device and its first backup.
first_night() { device && backup -q backup.img 2>err; }

# grown_origin: the device of first_night has 64 blocks more, which hold data.
grown_origin() {
  head -c 4M /dev/urandom >>origin
  simulate suspend 'reload 40960' resume 'write 0 8'
}

# attach FILE: sets loop to a loop device on the file, until the test ends, or skips the test.
attach() {
  loop=$(losetup --find --show "$1") || skip 'needs a loop device'
  echo "$loop" >>loops
}

# small_disk SIZE: mounts a file system of this size at small, until the test ends, or skips the test.
small_disk() {
  [[ $(id -u) = 0 ]] || skip 'needs root to mount a small file system'
  mkdir small && mount -t tmpfs -o "size=$1" none small || skip 'needs tmpfs'
}

teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q small || umount small
  [[ ! -e loops ]] || xargs -n 1 losetup --detach <loops
}
