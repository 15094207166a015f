#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# The commands' common behaviour: options, usage errors, and their messages about inputs that are no
# metadata.
load helpers

both=(era_check era_dump)

# refused_by_both PATTERN ARGUMENT...
refused_by_both() {
  for c in "${both[@]}"; do refused "$1" "$c" "${@:2}"; done
}

# --- Options and usage.

@test "--help and -h print the usage on stdout" {
  for c in "${both[@]}" 'era_tools check' 'era_tools dump' era_tools; do
    for option in -h --help; do
      # shellcheck disable=SC2086
      run -0 --separate-stderr $c $option
      [[ $output = *"Usage: "* && -z $stderr ]] || fail "$c $option: $output$stderr"
    done
  done
  run -0 era_check --help
  [[ $output = *"Usage: era_check [options] {device|file}"* ]]
}

# Scripts parse it, as they do with thin-provisioning-tools.
@test "--version and -V print the bare number" {
  for option in -V --version; do
    for c in "${both[@]}" era_tools; do
      run -0 --separate-stderr "$c" $option
      [[ $output =~ ^[0-9]+\.[0-9]+\.[0-9]+$ && -z $stderr ]] ||
        fail "$c $option: $output$stderr"
    done
    run -0 era_tools dump $option
    [[ $output = "$(era_dump -V)" ]]
  done
}

@test "era_tools runs each command, whatever it is called by" {
  image crash
  same "$(era_check crash.img)" "$(era_tools check crash.img)"
  same "$(era_check crash.img)" "$(era_tools era_check crash.img)"
  same "$(era_dump --compact crash.img)" "$(era_tools dump --compact crash.img)"
  ln -s "$(command -v era_tools)" era_check
  ln -s "$(command -v era_tools)" other
  same "$(era_check crash.img)" "$(./era_check crash.img)"
  same "$(era_check crash.img)" "$(./other check crash.img)"
}

@test "era_tools without a command, or with an unknown one, prints the usage on stderr" {
  refused '^Usage: era_tools' era_tools
  refused '^  check ' era_tools
  refused "^era_tools: there is no command 'chekc'" era_tools chekc x.img
}

@test "usage errors name the option and --help" {
  image crash
  for c in "${both[@]}"; do
    refused "there is no option '--bogus'" "$c" --bogus crash.img
    refused "^Try '$c --help'" "$c" --bogus crash.img
    refused 'no device was named' "$c"
    refused "^Try '$c --help'" "$c"
    refused "'other.img' is not expected here" "$c" crash.img other.img
    refused '' "$c" ''
    refused steam "$c" --io-engine steam crash.img
  done
  refused '' era_dump crash.img -o
}

# A script's variable that is not set must not change what is asked for.
@test "an empty value of any option is a usage error" {
  image crash
  tried=0
  for c in check dump invalidate repair restore sim; do
    while read -r option; do
      tried=$((tried + 1))
      refused "^era_$c: $option: its value is empty; expected: " "era_$c" "$option" '' crash.img
      refused "^era_$c: $option: its value is empty; expected: " "era_$c" "$option=" crash.img
    done < <("era_$c" --help | sed -n 's/^  \(-[a-zA-Z],\)\{0,1\}\(--[a-z-]*\) [^ ].*/\2/p')
  done
  ((tried > 20))
}

@test "numbers are decimal" {
  image crash
  same "$(era_invalidate --written-since 1 --written-before 3 crash.img)" \
    "$(era_invalidate --written-since 01 --written-before 003 crash.img)"
  run -0 era_invalidate --format json --written-since 0 --written-before 010 crash.img
  [[ $output = *'"written_before":10,'* ]]
  for number in 0x8 8k -1 +1 1e3; do
    refused "'$number' is not a decimal number" era_invalidate --written-since "$number" crash.img
    for option in --block-size --nr-blocks --current-era; do
      refused "$option: '$number' is not a decimal number" \
        era_repair -i crash.img -o out.img $option "$number"
    done
  done
}

@test "long options may be shortened, and take what other tools' take" {
  image snap-live
  since() { era_invalidate --written-since 2 "$@" snap-live.img; }
  same "$(since --metadata-snapshot)" "$(since --metadata-snap)"
  same "$(since --metadata-snapshot)" "$(since --metadata-snapshot true)"
  same "$(since)" "$(since --metadata-snapshot false)"
  same "$(era_dump --repair --compact snap-live.img 2>&1)" "$(era_dump -r --comp snap-live.img 2>&1)"
  refused "'--written' may be any of --written-since, --written-before" \
    era_invalidate --written 2 snap-live.img
  refused "there is no option '--writen-since'" era_invalidate --writen-since 2 snap-live.img
}

@test "an option that does nothing is refused" {
  image crash
  for option in --block-size=8 --nr-blocks=9 --current-era=9; do
    refused "${option%=*} has no effect without --repair" era_dump $option crash.img
    refused "${option%=*} has no effect without --repair" \
      era_invalidate --written-since 1 $option crash.img
  done
}

# The pipe has a reader that has gone before the first write.
@test "a closed pipe ends every command with status 1 and no message" {
  image full
  mkfifo pipe
  for c in era_check 'era_check --json' era_dump 'era_invalidate --written-since 0 --format text' \
    'era_check --help' 'era_dump -V'; do
    bash -c "exec 3<>pipe 4>pipe 3>&-; $c full.img >&4; echo \$? >status" 2>err
    [[ $(<status) = 1 && ! -s err ]] || fail "$c: $(<status) $(<err)"
  done
}

@test "a device can begin with a dash" {
  image crash
  mv -- crash.img -crash.img
  run -0 era_check -- -crash.img
  [[ ${lines[-1]} = 'found: nothing wrong' ]]
}

# --- Metadata snapshots.

@test "--metadata-snapshot without a snapshot is an error that says how to take one" {
  image clean
  refused_by_both 'clean.img: holds no metadata snapshot; .*take_metadata_snap' \
    --metadata-snapshot clean.img
}

@test "--metadata-snapshot reads the snapshot" {
  image snap-live
  run -0 era_check --metadata-snapshot snap-live.img
  [[ $output = *"metadata snapshot (block $(superblock snap-live.img metadata_snap))"* ]]
  [[ $output != *'space map'* ]]
  [[ $(era_dump --metadata-snapshot snap-live.img) != "$(era_dump snap-live.img)" ]]
}

# --- Engines: what is read does not depend on how.

same_by_all_engines() {
  for c in era_check 'era_dump --logical --compact'; do
    # shellcheck disable=SC2086
    expected=$($c --io-engine sync "$1")
    # shellcheck disable=SC2086
    for engine in '' '--io-engine aio'; do
      actual=$($c $engine "$1") || fail "$c $engine $1"
      same "$expected" "$actual" || fail "$c $engine $1 differs (>)"
    done
  done
}

@test "both engines read the same from a file" {
  image full snap-live
  same_by_all_engines full.img
  same_by_all_engines snap-live.img
}

@test "both engines read the same from a block device" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  image full
  loop=$(losetup --find --show --read-only full.img) || skip 'no loop device to be had'
  echo "$loop" >loop
  same_by_all_engines "$loop"
  same "$(era_dump --compact full.img)" "$(era_dump --compact "$loop")"
}

@test "a block device in use is refused, but not for its metadata snapshot" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  head -c 1M /dev/zero >fs.img
  mke2fs -q fs.img
  loop=$(losetup --find --show fs.img) || skip 'no loop device to be had'
  echo "$loop" >loop
  mkdir mounted
  mount -r "$loop" mounted || skip 'may not mount'
  refused_by_both "$loop: is in use: mounted, or held by device-mapper; .*--metadata-snapshot" "$loop"
  # It is opened, and is then found to be a file system.
  for c in "${both[@]}"; do
    run -1 --separate-stderr "$c" --metadata-snapshot "$loop"
    [[ $stderr = *"$loop: metadata block 0: "* ]] || fail "$stderr"
  done
}

teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q mounted || umount mounted
  [[ ! -e loop ]] || losetup --detach "$(<loop)"
}

# --- Inputs that are none.

@test "a file that is not there" {
  refused_by_both '^era_.*: missing.img: No such file or directory' missing.img
}

@test "a directory, a character device" {
  mkdir directory
  refused_by_both 'directory: is a directory, neither a block device nor a regular file' directory
  refused_by_both '/dev/null: is a character device, ' /dev/null
}

@test "a pipe is refused, and not waited for" {
  mkfifo pipe
  for c in "${both[@]}"; do refused 'pipe: is a pipe, ' timeout 20 "$c" pipe; done
}

@test "a file that may not be read" {
  needs_modes
  image crash
  chmod 000 crash.img
  for c in "${both[@]}"; do
    refused "^$c: crash.img: Permission denied" unprivileged "$c" crash.img
  done
}

@test "a file that is being written by another of the tools" {
  image crash
  exec {held}<>crash.img
  flock -x "$held"
  refused_by_both 'crash.img: is being written by another tool' crash.img
  flock -s "$held"
  run -0 era_check crash.img
}

@test "an empty file, and one that is too small" {
  : >empty.img
  refused_by_both 'empty.img: is too small: it has 0 bytes' empty.img
  head -c 100 /dev/zero >small.img
  refused_by_both 'small.img: is too small: it has 100 bytes' small.img
  head -c 4095 /dev/zero >small.img
  refused_by_both 'small.img: is too small: it has 4095 bytes' small.img
}

# foreign PATTERN FILE: metadata it is not, and both say so; only check has a summary.
foreign() {
  refused "$1" era_dump "$2"
  run -1 --separate-stderr era_check "$2"
  grep -q -- "$1" <<<"$stderr" || fail "no '$1' in: $stderr"
  [[ $output = *'found: 1 error'* ]] || fail "$output"
  [[ $output != *'origin blocks'* ]] || fail "$output"
}

@test "zeros" {
  head -c 65536 /dev/zero >zeros
  foreign 'zeros: .*only zeros: .*not formatted yet' zeros
}

@test "XML" {
  image many-eras
  era_dump many-eras.img >metadata.xml
  foreign 'metadata.xml: .*is XML.*era_restore' metadata.xml
  { printf '<?xml version="1.0"?>\n' && cat metadata.xml; } >declared.xml
  foreign 'is XML' declared.xml
  { printf '\xef\xbb\xbf\n  ' && cat metadata.xml; } >indented.xml
  foreign 'is XML' indented.xml
}

@test "compressed files" {
  head -c 100000 /dev/urandom >noise
  gzip <noise >metadata.gz
  foreign 'is compressed (gzip)' metadata.gz
  xz <noise >metadata.xz
  foreign 'is compressed (xz)' metadata.xz
  { printf '\x28\xb5\x2f\xfd' && cat noise; } >metadata.zst
  foreign 'is compressed (zstd)' metadata.zst
}

@test "text and noise" {
  seq 100000 >text
  foreign 'text: metadata block 0: .*no era metadata' text
  head -c 100000 /dev/urandom >noise
  foreign 'noise: metadata block 0: .*no era metadata' noise
}

@test "a truncated image, wherever it ends" {
  image snap-live
  for blocks in 1 9 345 592 1000; do
    head -c $((blocks * 4096 + 77)) snap-live.img >cut.img
    run -1 --separate-stderr era_check cut.img
    [[ $stderr = *'past the metadata'* || $stderr = *'and the metadata has'* ||
      $stderr = *'and there are'* ]] || fail "$stderr"
    [[ $output != *'nothing wrong'* ]]
  done
  head -c $((345 * 4096)) snap-live.img >cut.img
  refused 'cut.img: is damaged: not dumped' era_dump cut.img
  refused 'cut.img: is damaged: not dumped' era_dump --logical --compact cut.img
}

# --- Outputs.

@test "a full disk under stdout is an error" {
  image crash
  for c in "${both[@]}"; do
    run -1 bash -c "$c crash.img >/dev/full"
    [[ $output = "$c: cannot write standard output: No space left on device" ]] || fail "$output"
  done
  run -1 bash -c 'era_check --json crash.img >/dev/full'
  for c in "${both[@]}" era_tools; do
    for option in --help --version; do run -1 bash -c "$c $option >/dev/full"; done
  done
  for option in -h -V; do
    run -1 bash -c "era_tools $option >/dev/full"
    [[ $output = 'era_tools: cannot write standard output: No space left on device' ]]
  done
}

@test "a file that may only be read is read" {
  needs_modes
  image crash
  chmod 444 crash.img
  for c in "${both[@]}"; do
    run -0 unprivileged "$c" crash.img
  done
}

@test "the input is not changed" {
  image snap-live
  before=$(sha256sum snap-live.img)
  touch -d @1000000000 snap-live.img
  era_check snap-live.img
  era_check --metadata-snapshot snap-live.img
  era_dump --logical -o dump.xml snap-live.img
  [[ $(sha256sum snap-live.img) = "$before" ]]
  [[ $(stat -c %Y snap-live.img) = 1000000000 ]]
}
