#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_dump: its output, whole or not at all. kernel_images.bats compares the content of dumps.
load helpers

# only FILE...: these are all the files here, hidden ones included.
only() { same "$(printf '%s\n' "$@" | sort)" "$(ls -A | sort)"; }

# damaged NAME: an image that is found to be damaged only after half of it was printed.
damaged() {
  image "$1"
  zero_block "$1.img" "$(array_block "$1.img" 200)"
}

# --- Damage.

@test "damage ends a dump, and is named" {
  damaged full
  for option in '' --logical --compact '--logical --compact'; do
    # shellcheck disable=SC2086
    run -1 --separate-stderr era_dump $option full.img
    same "era_dump: full.img: metadata block $(array_block full.img 200): era array: the block holds only zeros; when origin blocks 203600 to 204617 were last written is unknown" "${stderr_lines[0]}"
    [[ ${stderr_lines[1]} = 'era_dump: full.img: is damaged: not dumped, '*era_check*--repair* ]]
    # Nothing that a reader of XML takes for a dump.
    [[ $output != *'</superblock>'* ]]
  done
}

@test "damage to any part that a dump needs ends it" {
  for part in writeset_tree_root era_array_root current_root; do
    image crash
    zero_block crash.img "$(superblock crash.img $part)"
    for option in '' --logical; do
      # shellcheck disable=SC2086
      refused 'crash.img: is damaged: not dumped' era_dump $option crash.img
    done
  done
  image crash
  poke crash.img 3000 1 1
  refused 'crash.img: .*superblock: the checksum does not match' era_dump crash.img
}

@test "damage to the space map does not matter to a dump" {
  image crash
  before=$(era_dump crash.img)
  zero_block crash.img "$(bitmap_of crash.img)"
  run -1 era_check crash.img
  same "$before" "$(era_dump crash.img)"
}

@test "damage to live metadata does not matter to the snapshot's dump" {
  image snap-live
  before=$(era_dump --metadata-snapshot snap-live.img)
  zero_block snap-live.img "$(superblock snap-live.img current_root)"
  refused 'is damaged' era_dump snap-live.img
  same "$before" "$(era_dump --metadata-snapshot snap-live.img)"
}

# --- Output files.

@test "-o and --output write what stdout gets, and nothing else" {
  image full
  era_dump full.img >expected
  run -0 era_dump -o short.xml full.img
  [[ -z $output ]]
  run -0 era_dump --output long.xml full.img
  [[ -z $output ]]
  era_dump -o - full.img >dash
  for file in short.xml long.xml dash; do cmp expected $file; done
  only full.img expected short.xml long.xml dash
}

@test "a new file has the mode that the umask leaves" {
  image crash
  (umask 027 && era_dump -o new.xml crash.img)
  same 640 "$(stat -c %a new.xml)"
  (umask 0 && era_dump -o open.xml crash.img)
  same 666 "$(stat -c %a open.xml)"
}

@test "an existing file is replaced and keeps its mode" {
  image crash
  seq 1000000 >old.xml
  chmod 604 old.xml
  era_dump -o old.xml crash.img
  cmp old.xml <(era_dump crash.img)
  same 604 "$(stat -c %a old.xml)"
  only crash.img old.xml
}

@test "damage leaves nothing behind, and an existing file as it was" {
  damaged full
  refused 'is damaged' era_dump -o new.xml full.img
  only full.img
  echo precious >old.xml
  refused 'is damaged' era_dump -o old.xml full.img
  only full.img old.xml
  same precious "$(<old.xml)"
}

@test "a disk that fills up leaves nothing behind, and an existing file as it was" {
  image full
  echo precious >old.xml
  for file in old.xml new.xml; do
    # A limit on the size of files, of which only write() tells.
    run -1 --separate-stderr bash -c "trap '' XFSZ; ulimit -f 64; exec era_dump -o $file full.img"
    same "era_dump: cannot write $file: File too large" "$stderr"
  done
  only full.img old.xml
  same precious "$(<old.xml)"
}

# The end of a compressed dump is written last, when the compressor is told that nothing follows.
@test "nor does a disk that fills up within a compressed dump" {
  image grow
  for ending in gz xz zst; do
    run era_dump -o "whole.$ending" grow.img
    [[ $output != *'built without'* ]] || skip "${output##*which is }"
    size=$(($(stat -c %s "whole.$ending") / 1024))
    echo precious >"old.$ending"
    for limit in 1 $((size / 2)) "$size"; do
      for file in "old.$ending" "new.$ending"; do
        run -1 --separate-stderr bash -c "ulimit -f $limit; exec era_dump -o $file grow.img"
        same "era_dump: cannot write $file: File too large" "$stderr"
      done
    done
    same precious "$(<"old.$ending")"
    only grow.img whole.* old.*
  done
  device device.gz 1 7
  cp -a device.gz device.xz
  cp -a device.gz device.zst
  for ending in gz xz zst; do
    refused "cannot write device.$ending: No space left on device" era_dump -o "device.$ending" grow.img
  done
}

@test "a symbolic link stays one, and its target is replaced" {
  image crash
  mkdir elsewhere
  echo old >elsewhere/target.xml
  ln -s elsewhere/target.xml link.xml
  era_dump -o link.xml crash.img
  [[ -L link.xml && ! -L elsewhere/target.xml ]]
  cmp elsewhere/target.xml <(era_dump crash.img)
  same target.xml "$(ls -A elsewhere)"
}

@test "a symbolic link to nothing stays one, and what it names is created" {
  image crash
  mkdir elsewhere
  ln -s elsewhere/target.xml link.xml
  era_dump -o link.xml crash.img
  [[ -L link.xml && ! -L elsewhere/target.xml ]]
  cmp elsewhere/target.xml <(era_dump crash.img)
  only crash.img elsewhere link.xml
  ln -s nowhere/target.xml broken.xml
  refused 'cannot write broken.xml: No such file or directory' era_dump -o broken.xml crash.img
}

@test "a name may be as long as names can be" {
  image crash
  for size in 249 255; do
    name=$(printf 'n%.0s' $(seq $size))
    era_dump -o "$name" crash.img
    era_dump -o "$name" crash.img
    cmp "$name" <(era_dump crash.img)
    rm "$name"
  done
  only crash.img
}

@test "standard output by its names is written where it stands" {
  image crash
  era_dump crash.img >expected
  for name in /dev/stdout /dev/fd/1 /proc/self/fd/1; do
    echo before >log
    { era_dump -o "$name" crash.img && echo after; } >>log
    cmp log <(echo before && cat expected && echo after)
    { echo before && era_dump -o "$name" crash.img && echo after; } >log
    cmp log <(echo before && cat expected && echo after)
    era_dump -o "$name" crash.img | cmp - expected
  done
  era_dump -o >(cat >substituted) crash.img
  wait $!
  cmp substituted expected
  only crash.img expected log substituted
}

@test "an existing file keeps its owner, access control list and attributes" {
  image crash
  echo old >old.xml
  chmod 640 old.xml
  kept=()
  if [[ $(id -u) = 0 ]]; then chown 4711:4712 old.xml; fi
  if command -v setfacl >/dev/null && setfacl -m u:4713:rw old.xml; then kept+=('getfacl -n'); fi
  if command -v setfattr >/dev/null && setfattr -n user.comment -v kept old.xml; then
    kept+=('getfattr -d')
  fi
  kept+=('stat -c %u:%g:%a')
  before=$(for command in "${kept[@]}"; do $command old.xml; done)
  inode=$(stat -c %i old.xml)
  era_dump -o old.xml crash.img
  same "$before" "$(for command in "${kept[@]}"; do $command old.xml; done)"
  [[ $(stat -c %i old.xml) != "$inode" ]]
  cmp old.xml <(era_dump crash.img)
}

@test "a file that may be written in a directory that may not is overwritten" {
  needs_modes
  image crash
  mkdir fixed
  echo old >fixed/old.xml
  chmod 555 fixed
  inode=$(stat -c %i fixed/old.xml)
  unprivileged era_dump -o fixed/old.xml crash.img
  cmp fixed/old.xml <(era_dump crash.img)
  same "$inode" "$(stat -c %i fixed/old.xml)"
  same old.xml "$(ls -A fixed)"
  # Damage is found before anything is overwritten.
  damaged full
  refused 'is damaged' unprivileged era_dump -o fixed/old.xml full.img
  cmp fixed/old.xml <(era_dump crash.img)
}

# A file system without fallocate, so that its end is met halfway.
@test "a file that cannot be overwritten whole says so in its first line" {
  needs_modes
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  image full
  truncate -s 200K fs.img
  mke2fs -q -t ext2 -m 0 fs.img
  mkdir mounted
  mount -o loop fs.img mounted || skip 'may not mount'
  echo '<old/>' >mounted/old.xml
  chmod 555 mounted
  refused 'cannot write mounted/old.xml: No space left on device; what it held before is lost, and its first line says that it is incomplete' \
    unprivileged era_dump -o mounted/old.xml full.img
  same 'incomplete: the program that was writing this file was stopped' "$(<mounted/old.xml)"
  same old.xml "$(cd mounted && shopt -s nullglob dotglob && echo [!l]*)"
  # In a directory that may be written, the earlier file stays.
  chmod 755 mounted
  echo '<old/>' >mounted/old.xml
  refused 'cannot write mounted/old.xml: No space left on device' era_dump -o mounted/old.xml full.img
  same '<old/>' "$(<mounted/old.xml)"
  umount mounted
}

teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q mounted || umount mounted
}

# device NAME MAJOR MINOR: a character device here. As root, the tests must not name one in /dev as an
# output: a fault of the program would take it from the whole machine.
device() {
  mknod "$1" c "$2" "$3" 2>/dev/null || skip 'needs root for a device of its own'
  [[ -r $1 ]] && head -c 1 "$1" >/dev/null 2>&1 || skip 'devices do not work here'
}

@test "on a terminal a long dump to a file shows how far it is" {
  needs_terminal
  echo '<superblock uuid="" block_size="8" nr_blocks="4000000" current_era="3"><era_array>
    <range block_begin="0" len="4000000" era="2"/></era_array></superblock>' >x.xml
  truncate -s 20M big.img
  era_restore -i x.xml -o big.img
  mkfifo slow
  : >shown
  script -qefc 'era_dump -o slow big.img' /dev/null </dev/null >shown 2>&1 3>&- &
  pid=$!
  exec {reader}<slow
  until grep -q 'era_dump: [0-9]*%, [0-9]* MiB/s, [0-9:]* left' shown; do
    head -c 65536 <&"$reader" >part
    [[ -s part ]] || fail "it ended, and showed $(cat -v shown)"
  done
  cat <&"$reader" >/dev/null
  exec {reader}<&-
  wait $pid
}

@test "a pipe and a device are written directly" {
  image crash
  era_dump crash.img >expected
  mkfifo pipe
  timeout 60 cat pipe >"read" &
  timeout 60 era_dump -o pipe crash.img
  wait $!
  cmp expected read
  [[ -p pipe ]]
  ln -s /proc/self/fd/1 stdout
  era_dump -o stdout crash.img | cmp expected
  [[ -L stdout ]]
  device null 1 3
  era_dump -o null crash.img
  [[ -c null ]]
}

@test "the metadata itself is refused as output, by any name" {
  image crash
  before=$(sha256sum <crash.img)
  ln -s crash.img symbolic
  ln crash.img hard
  for file in crash.img ./crash.img symbolic hard; do
    refused "$file: is the metadata itself" era_dump -o $file crash.img
  done
  same "$before" "$(sha256sum <crash.img)"
  only crash.img symbolic hard
}

@test "a directory that is not there, or is the output" {
  image crash
  refused 'cannot write nowhere/dump.xml: No such file or directory' era_dump -o nowhere/dump.xml crash.img
  mkdir directory
  refused 'cannot write directory: Is a directory' era_dump -o directory crash.img
  only crash.img directory
}

@test "a directory that may not be written" {
  needs_modes
  image crash
  mkdir fixed
  chmod 555 fixed
  refused 'cannot write fixed/dump.xml: Permission denied' unprivileged era_dump -o fixed/dump.xml crash.img
  same '' "$(ls -A fixed)"
}

@test "a file that may not be written" {
  needs_modes
  image crash
  echo precious >old.xml
  chmod 444 old.xml
  refused 'cannot write old.xml: Permission denied' unprivileged era_dump -o old.xml crash.img
  same precious "$(<old.xml)"
  same 444 "$(stat -c %a old.xml)"
}

@test "a full device" {
  image full
  run -1 --separate-stderr bash -c 'era_dump full.img >/dev/full'
  same 'era_dump: cannot write standard output: No space left on device' "$stderr"
  device device 1 7
  refused 'cannot write device: No space left on device' era_dump -o device full.img
  [[ -c device ]]
}

# --- Closed pipes. The dump is far larger than a pipe.

@test "a reader that has gone is no reason to complain" {
  image full
  run --separate-stderr bash -c 'era_dump full.img | head -n 1; exit "${PIPESTATUS[0]}"'
  [[ $status != 0 ]]
  [[ $output = '<superblock '* && -z $stderr ]] || fail "$output$stderr"
}

@test "nor is it where SIGPIPE is ignored" {
  image full
  run --separate-stderr bash -c "trap '' PIPE; era_dump full.img | head -n 1"'; exit "${PIPESTATUS[0]}"'
  [[ $status = 1 ]]
  [[ $output = '<superblock '* && -z $stderr ]] || fail "$output$stderr"
}

@test "a reader of a named pipe that has gone" {
  image full
  mkfifo pipe
  timeout 60 head -n 1 pipe >first &
  run --separate-stderr timeout 60 era_dump -o pipe full.img
  wait $!
  [[ $status != 0 && -z $stderr ]] || fail "$status $stderr"
  [[ $(<first) = '<superblock '* ]]
}

# --- The document.

@test "compact dumps are small, in runs as long as they can be" {
  image many-eras
  era_dump --compact --logical many-eras.img >compact.xml
  # No two neighbours have the same era.
  awk -F'"' -v era=none '/<range/ { if ($6 == era) exit 1; era = $6; ++n } END { if (n < 1000) exit 1 }' compact.xml
  image clean
  [[ $(era_dump --compact clean.img | wc -l) -lt 20 ]]
}

@test "a writeset lists as many bits as it has" {
  image grow reopened
  for name in grow reopened; do
    era_dump "$name.img" >"$name.xml"
    awk -F'"' '
      /<writeset/ { wanted = $4; n = 0 }
      /<bit/ { if ($2 != n) exit 1; ++n }
      /<\/writeset/ { if (n != wanted) exit 1; ++seen }
      END { if (!seen) exit 1 }' "$name.xml"
  done
}
