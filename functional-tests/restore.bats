#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_restore from outside: metadata comes back as it was, what is refused is refused in clear words,
# and an output is left as it was or without a superblock.
load helpers
# shellcheck disable=SC2030,SC2031  # bats runs each test in a subshell

# output [SIZE]: an output that holds something which must not come through.
output() {
  rm -f out.img
  head -c "${1:-4M}" /dev/zero | tr '\0' '\245' >out.img
}

looks_unformatted() { cmp -n 4096 "$1" /dev/zero; }

# restores XML: it succeeds without a word, and era_check finds nothing wrong.
restores() {
  run -0 era_restore -i "$1" -o out.img
  [[ -z $output ]] || fail "printed: $output"
  run -0 era_check out.img
  [[ ${lines[-1]} = 'found: nothing wrong' ]]
}

# fails_wiped PATTERN ARGUMENT...: refused, said to be wiped, and wiped.
fails_wiped() {
  output
  refused "$1" era_restore -o out.img "${@:2}"
  [[ $stderr = *'out.img: is wiped and holds no metadata: it looks unformatted until this has succeeded' ]] ||
    fail "$stderr"
  looks_unformatted out.img
  run -1 era_check out.img
  [[ $output = *'not formatted yet'* ]]
}

# fails_untouched PATTERN ARGUMENT...: refused, and out.img is as it was.
fails_untouched() {
  local before
  before=$(sha256sum out.img)
  refused "$1" era_restore -o out.img "${@:2}"
  # shellcheck disable=SC2154  # set by run
  [[ ${#stderr_lines[@]} = 1 ]] || fail "$stderr"
  [[ $(sha256sum out.img) = "$before" ]]
}

small_xml() {
  cat >x.xml <<'XML'
<superblock uuid="" block_size="128" nr_blocks="3" current_era="5">
  <writeset era="4" nr_bits="3">
    <bit block="0" value="false"/>
    <bit block="1" value="true"/>
    <bit block="2" value="false"/>
  </writeset>
  <era_array>
    <era block="0" era="0"/>
    <era block="1" era="2"/>
    <era block="2" era="3"/>
  </era_array>
</superblock>
XML
}

# --- It comes back.

@test "dump, restore, dump is the identity: every kernel image, live and snapshot, full and compact" {
  # shellcheck disable=SC2154  # from the helpers
  for name in "${images[@]}"; do
    image "$name"
    for from in '' --metadata-snapshot; do
      [[ -z $from || $(superblock "$name.img" metadata_snap) != 0 ]] || continue
      # shellcheck disable=SC2086
      era_dump $from "$name.img" >full.xml
      # shellcheck disable=SC2086
      era_dump $from --compact "$name.img" >compact.xml
      for form in full compact; do
        output
        restores $form.xml
        era_dump out.img | cmp - full.xml
        era_dump --compact out.img | cmp - compact.xml
      done
    done
  done
}

@test "what was written when is the same by the restored metadata" {
  for name in "${images[@]}"; do
    image "$name"
    output
    era_dump --compact "$name.img" | era_restore -i - -o out.img
    same "$(truth "$name")" "$(era_dump --logical out.img | ranges_of_dump)"
  done
}

@test "metadata can be restored over its own dump's origin" {
  image crash
  era_dump crash.img >crash.xml
  era_restore -i crash.xml -o crash.img
  era_dump crash.img | cmp - crash.xml
}

@test "both engines write the same, to a file" {
  image full
  era_dump full.img >full.xml
  output
  cp out.img aio.img
  era_restore -i full.xml -o out.img
  era_restore --io-engine aio -i full.xml -o aio.img
  cmp out.img aio.img
}

@test "a block device is written" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  image full
  era_dump full.img >full.xml
  output
  loop=$(losetup --find --show out.img) || skip 'no loop device to be had'
  echo "$loop" >loop
  era_restore -i full.xml -o "$loop"
  era_dump "$loop" | cmp - full.xml
  run -0 era_check "$loop"
  truncate -s 16K small.img
  losetup --detach "$loop"
  loop=$(losetup --find --show small.img)
  echo "$loop" >loop
  refused "$loop: is too small: it has 4 metadata blocks .* needs .*; take a device of 3 MiB" \
    era_restore -i full.xml -o "$loop"
}

@test "a block device in use is refused" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  command -v mke2fs >/dev/null || skip 'needs mke2fs'
  small_xml
  head -c 1M /dev/zero >fs.img
  mke2fs -q fs.img
  before=$(sha256sum fs.img)
  loop=$(losetup --find --show fs.img) || skip 'no loop device to be had'
  echo "$loop" >loop
  mkdir mounted
  mount -r "$loop" mounted || skip 'may not mount'
  refused "^era_restore: $loop: is in use: mounted, or held by device-mapper; stop its user first" \
    era_restore -i x.xml -o "$loop"
  umount mounted
  [[ $(sha256sum fs.img) = "$before" ]]
}

teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  ! mountpoint -q mounted || umount mounted
  [[ ! -e loop ]] || losetup --detach "$(<loop)"
}

# --- Compressed XML.

# needs_compression: skips the test if the programs are built without a format.
needs_compression() {
  local ending
  small_xml
  image crash
  for ending in gz xz zst; do
    run era_dump -o "probe.$ending" crash.img
    [[ $output != *'built without'* ]] || skip "${output##*which is }"
  done
}

@test "compressed XML is known by its content, from files and from standard input" {
  needs_compression
  image many-eras
  era_dump many-eras.img >x.xml
  for packer in gzip xz zstd; do
    command -v $packer >/dev/null || continue
    $packer -c x.xml >packed
    output
    restores packed
    era_dump out.img | cmp - x.xml
    output
    cat packed | era_restore -i - -o out.img
    era_dump out.img | cmp - x.xml
  done
}

@test "era_dump writes compressed by name, and era_restore takes it back" {
  needs_compression
  image many-eras
  era_dump many-eras.img >x.xml
  for packer in gzip.gz xz.xz zstd.zst; do
    era_dump -o "d.xml.${packer#*.}" many-eras.img
    if command -v "${packer%.*}" >/dev/null; then "${packer%.*}" -dc "d.xml.${packer#*.}" | cmp - x.xml; fi
    output
    restores "d.xml.${packer#*.}"
    era_dump out.img | cmp - x.xml
  done
  # A damaged image leaves no file of it.
  zero_block many-eras.img "$(array_block many-eras.img 0)"
  refused 'is damaged' era_dump -o new.xml.gz many-eras.img
  [[ ! -e new.xml.gz ]]
}

@test "compressed XML that is cut leaves no metadata" {
  needs_compression
  image many-eras
  for ending in gz xz zst; do
    era_dump -o "d.$ending" many-eras.img
    head -c $(($(stat -c %s "d.$ending") - 50)) "d.$ending" >"cut"
    output
    run -1 --separate-stderr era_restore -i cut -o out.img
    [[ $stderr = *truncated* ]] || fail "$stderr"
    looks_unformatted out.img || cmp -n 4096 out.img <(head -c 4096 /dev/zero | tr '\0' '\245')
  done
}

@test "bytes that went bad at the end of a gzip file leave no metadata" {
  needs_compression
  image full
  era_dump -o x.gz full.img
  poke x.gz $(($(stat -c %s x.gz) - 6)) 2 4711
  fails_wiped 'x.gz: is no whole gzip file: it is truncated or damaged' -i x.gz
}

@test "several members, and skippable frames of zstd, are one document" {
  needs_compression
  split -n 3 x.xml part.
  for packer in gzip xz zstd; do
    command -v $packer >/dev/null || continue
    for part in part.*; do $packer -c "$part"; done >packed
    output
    restores packed
  done
  command -v zstd >/dev/null || skip 'needs zstd'
  { printf '\x50\x2a\x4d\x18\x03\x00\x00\x00abc' && cat packed; } >skippable
  output
  restores skippable
}

# A changed bit of such a file would restore other eras.
@test "compressed XML without a checksum is refused, with the way to read it" {
  needs_compression
  output
  xz -c --check=none x.xml >x.xz
  fails_untouched '^era_restore: x.xz: is compressed as xz without a checksum: damage to it would not be noticed; if you are sure of it, unpack it first, with xz -dc$' -i x.xz
  xz -dc x.xz | era_restore -i - -o out.img
  command -v zstd >/dev/null || skip 'needs zstd'
  output
  zstd -qc --no-check x.xml >x.zst
  fails_untouched '^era_restore: x.zst: is compressed as zstd without a checksum: damage to it would not be noticed; if you are sure of it, unpack it first, with zstd -dc$' -i x.zst
  fails_untouched '^era_restore: standard input: is compressed as zstd without a checksum' -i - <x.zst
  zstd -dc x.zst | era_restore -i - -o out.img
  run -0 era_check out.img
}

# --- What is refused before anything is written.

@test "era_tools restore is era_restore" {
  run -0 era_tools restore --version
  [[ $output = "$(era_restore -V)" ]]
  run -0 era_restore -h
  [[ $output = *'Usage: era_restore [options] -i FILE -o {device|file}'* ]]
}

@test "usage errors" {
  small_xml
  output
  refused '--input is required' era_restore -o out.img
  refused '--output is required' era_restore -i x.xml
  refused "^Try 'era_restore --help'" era_restore -i x.xml
  refused "'more' is not expected here" era_restore -i x.xml -o out.img more
}

@test "an output that is not there, or too small, gets the command that makes it" {
  small_xml
  refused '^era_restore: new.img: is not there; make it so large first: truncate -s 1M new.img$' \
    era_restore -i x.xml -o new.img
  [[ ! -e new.img ]]
  for size in 0 4095 28671; do
    output $size
    fails_untouched '^era_restore: out.img: is too small: .*; make it so large first: truncate -s 1M out.img$' -i x.xml
  done
  # The command does what it says.
  image full
  era_dump full.img >full.xml
  output 100K
  fails_untouched '^era_restore: out.img: is too small: it has 25 metadata blocks (102400 bytes), and metadata of 262144 origin blocks needs 266 metadata blocks (1089536 bytes) at least; ' -i full.xml
  eval "${stderr##*first: }"
  restores full.xml
}

@test "the XML itself, by any name, is refused as output" {
  small_xml
  before=$(sha256sum <x.xml)
  ln x.xml hard.xml
  ln -s x.xml soft.xml
  for name in x.xml hard.xml soft.xml; do
    refused "^era_restore: $name: is the XML itself; name another output" era_restore -i x.xml -o "$name"
    refused "^era_restore: $name: is the XML itself" era_restore -i - -o "$name" <x.xml
  done
  [[ $(sha256sum <x.xml) = "$before" ]]
}

@test "outputs that can hold no metadata" {
  small_xml
  mkdir directory
  for name in directory /dev/null; do
    refused "^era_restore: $name: is a .*, neither a block device nor a regular file" era_restore -i x.xml -o $name
  done
}

@test "an output that another tool has open" {
  small_xml
  output
  exec {held}<out.img
  flock -s "$held"
  fails_untouched 'out.img: is being read or written by another tool' -i x.xml
}

@test "an output that may not be written" {
  needs_modes
  small_xml
  output
  chmod 444 out.img
  refused '^era_restore: out.img: Permission denied' unprivileged era_restore -i x.xml -o out.img
}

@test "inputs that are none" {
  output
  fails_untouched '^era_restore: none.xml: No such file or directory' -i none.xml
  mkdir directory
  fails_untouched '^era_restore: directory: Is a directory' -i directory
  image crash
  fails_untouched '^era_restore: crash.img: is binary metadata of dm-era, not XML; era_dump makes XML of it' -i crash.img
  : >empty.xml
  fails_untouched '^era_restore: empty.xml:1: the file ends before a superblock begins' -i empty.xml
  echo '<superblock block_size="100" nr_blocks="1" current_era="1"/>' >x.xml
  fails_untouched '^era_restore: x.xml:1: superblock: block_size="100" cannot be' -i x.xml
  echo '<superblock block_size="128" nr_blocks="2147483648" current_era="1"/>' >x.xml
  fails_untouched '^era_restore: x.xml:1: superblock: nr_blocks="2147483648" is too large' -i x.xml
  printf '<!DOCTYPE a [<!ENTITY b "c">]>\n<superblock/>' >x.xml
  fails_untouched '^era_restore: x.xml:1: DOCTYPE: document type declarations' -i x.xml
}

# --- What goes wrong halfway.

@test "each wrong element is its own error, and leaves the output unformatted" {
  # change SED PATTERN: what the small document is refused for once it was changed.
  change() {
    small_xml
    sed -i "$1" x.xml
    fails_wiped "^era_restore: x.xml:$2" -i x.xml
  }
  change '4s/1/0/' '4: bit: block 0 is listed twice'
  change '3s/0/1/;4s/1/0/' '4: bit: block 0 comes after block 1; blocks must ascend'
  change '5s/2/3/' "5: bit: block 3 is past the end; the writeset's nr_bits is 3"
  change '9d' '9: era: block 1 is missing before block 2; every block needs its era'
  change '10d' '10: era_array: block 2 is missing; every block needs its era'
  change '10s/"3"/"6"/' '10: era: era="6" is past the current era 5'
  change '2s/"4"/"6"/' '2: writeset: era="6" is past the current era 5'
  change '2s/"4"/"0"/' '2: writeset: era="0" cannot be'
  change '2,6{p}' '3: writeset: this element is not known here'
  change '6s,$,<writeset era="4" nr_bits="0"/>,' '6: writeset: there are two writesets of era 4'
  change '11s,$,<era_array/>,' '11: era_array: there are two era arrays'
  change '7,11d' '7: superblock: it has no era_array'
  change '4s/true/maybe/' '4: bit: value="maybe" is neither true nor false'
  change '4s/"1"/"1x"/' '4: bit: block="1x" is not a number'
  change '4s/bit/bot/' '4: bot: this element is not known here; expected a bit or a marked'
  change '4s/value/volue/' "4: bit: attribute 'volue' is not known; known here: block, value"
  change '4s/value="true"//' "4: bit: attribute 'value' is missing"
  change '12s/.*/and more/' '12: text: there is text between the elements'
  change '12s/$/and more/' '12: not well-formed XML: junk after document element'
}

@test "a file that is cut is an error, wherever it is cut" {
  small_xml
  size=$(stat -c %s x.xml)
  for cut in 80 150 300 $((size - 2)); do
    head -c "$cut" x.xml >cut.xml
    fails_wiped '^era_restore: cut.xml:[0-9]*: the file ends here, before </superblock>: it is truncated' -i cut.xml
  done
}

@test "a disk that fills up leaves the output unformatted" {
  image full
  era_dump full.img >full.xml
  rm -f out.img
  truncate -s 4M out.img
  # A limit on the size of files, of which only write() tells.
  run -1 --separate-stderr bash -c "trap '' XFSZ; ulimit -f 100; exec era_restore -i full.xml -o out.img"
  [[ $stderr = 'era_restore: out.img: metadata blocks '*' cannot be written: File too large'* ]] || fail "$stderr"
  [[ $stderr = *'out.img: is wiped and holds no metadata'* ]]
  looks_unformatted out.img
}

@test "a signal leaves the output unformatted, and says so" {
  small_xml
  for signal in INT TERM HUP; do
    output
    mkfifo pipe
    interruptible era_restore -i pipe -o out.img 2>errors &
    pid=$!
    exec {writer}>pipe
    head -n 4 x.xml >&"$writer"
    until looks_unformatted out.img >/dev/null 2>&1; do
      kill -0 $pid || fail 'it ended before the signal'
    done
    kill -"$signal" $pid
    wait $pid && fail 'it went on'
    exec {writer}>&-
    [[ $(<errors) = 'era_restore: ended by a signal ('*'out.img: is wiped and holds no metadata'* ]] || fail "$(<errors)"
    looks_unformatted out.img
    rm pipe
  done
}

@test "a signal ends a wait for a FIFO's writer" {
  output
  mkfifo pipe
  for signal in INT TERM HUP; do
    interruptible era_restore -i pipe -o out.img 2>errors 3>&- &
    pid=$!
    holds_signals $pid
    kill -$signal $pid
    status=0
    wait $pid || status=$?
    [[ $status = 1 ]]
    [[ $(<errors) = 'era_restore: ended by a signal ('*')' ]] || fail "$(<errors)"
  done
}

# --- Quiet and progress.

@test "nothing is said where standard error is no terminal" {
  small_xml
  output
  run -0 --separate-stderr era_restore -i x.xml -o out.img
  [[ -z $output && -z $stderr ]]
  run -0 --separate-stderr era_restore -q -i x.xml -o out.img
  [[ -z $output && -z $stderr ]]
}

@test "on a terminal a long job shows its progress, and -q silences it" {
  needs_terminal
  small_xml
  for option in '' -q; do
    output
    mkfifo slow
    : >shown
    SECONDS=0
    # Blank lines keep it busy until the line is there, or would have been.
    {
      head -n 4 x.xml
      until [[ -s shown ]] || { [[ $option = -q ]] && ((SECONDS > 2)); }; do echo; done
      tail -n +5 x.xml
    } >slow &
    script -qefc "era_restore $option -i slow -o out.img" /dev/null </dev/null >shown
    wait $!
    rm slow
    if [[ -z $option ]]; then
      grep -q 'era_restore: 0 MiB, 0 MiB/s' shown || fail "$(cat -v shown)"
    else
      [[ ! -s shown ]] || fail "$(cat -v shown)"
    fi
    run -0 era_check out.img
  done
}

# --- Memory.

@test "memory does not grow with the metadata" {
  # 16,000,000 blocks, 4 writesets; all libraries included, and no page more.
  {
    echo '<superblock uuid="" block_size="128" nr_blocks="16000000" current_era="9">'
    for era in 5 6 7 8; do
      echo "<writeset era=\"$era\" nr_bits=\"16000000\"><marked block_begin=\"5\" len=\"15999000\"/></writeset>"
    done
    echo '<era_array><range block_begin="0" len="16000000" era="4"/></era_array></superblock>'
  } >x.xml
  truncate -s 80M out.img
  (ulimit -v 65536 && era_restore -i x.xml -o out.img)
  (ulimit -v 65536 && era_restore -i - -o out.img <x.xml)
  run -0 era_check -q out.img
}
