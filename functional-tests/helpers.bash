# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# For the bats files: kernel-written images, their fields, and ways to break them. The programs under
# test are found by PATH; nothing is written outside of BATS_TEST_TMPDIR.
bats_require_minimum_version 1.5.0

if [[ -n ${ERA_BIN:-} ]]; then PATH=$ERA_BIN:$PATH; fi
tests=${ERA_TESTS_DIR:-$BATS_TEST_DIRNAME}
# shellcheck disable=SC2034
images=(clean crash fresh full grow many-eras odd-block reopened shrunk snap-live)

# Each test works in a directory of its own, and never reads a terminal.
setup() {
  mkdir "$BATS_TEST_TMPDIR/here" && cd "$BATS_TEST_TMPDIR/here" || return
  exec </dev/null
}

# fail WORDS: ends the test, and says why.
fail() {
  echo "$*" >&2
  return 1
}

# image NAME...: unpacks kernel images as NAME.img.
image() {
  local name
  for name; do
    xz -dc "$tests/kernel-images/$name.img.xz" >"$name.img" || return
  done
}

# same EXPECTED ACTUAL: two texts.
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# refused PATTERN COMMAND...: status 1, nothing on stdout, and on stderr a line with the pattern.
refused() {
  run -1 --separate-stderr "${@:2}"
  [[ -z $output ]] || fail "printed on stdout: ${output:0:200}"
  # shellcheck disable=SC2154  # set by run
  grep -q -- "$1" <<<"$stderr" || fail "no '$1' in: $stderr"
}

# holds_signals PID: returns when the process holds back SIGHUP, SIGINT and SIGTERM. No clock: it looks
# again and again.
holds_signals() {
  until grep -q '^SigBlk:[[:space:]]*0*4003$' "/proc/$1/status" 2>/dev/null; do
    kill -0 "$1" 2>/dev/null || fail "process $1 has ended before it held signals back" || return
  done
}

# interruptible COMMAND: in the background, where a shell ignores ^C for it; and under nohup.
interruptible() { exec env --default-signal=HUP,INT,TERM "$@"; }

# unprivileged COMMAND...: as a user whom file modes stop, also when the tests run as root.
unprivileged() {
  if [[ $(id -u) = 0 ]]; then
    local caps=-dac_override,-dac_read_search
    setpriv --bounding-set=$caps --inh-caps=$caps "$@"
  else
    "$@"
  fi
}

# needs_terminal: skips the test where script(1) cannot make a terminal, for which it would wait for ever.
needs_terminal() {
  script -qec true /dev/null </dev/null >/dev/null 2>&1 || skip 'script(1) cannot make a terminal here'
}

# needs_modes: skips the test where file modes stop nobody.
needs_modes() {
  : >closed && chmod 000 closed
  unprivileged true || skip "needs setpriv to give up root's rights over files"
  ! unprivileged test -r closed || skip 'file modes stop nobody here'
}

# --- Bytes. All numbers on disk are little-endian.

# peek FILE OFFSET BYTES: an unsigned number of 1, 2, 4 or 8 bytes.
peek() {
  local n
  n=$(od -An --endian=little -tu"$3" -j "$2" -N "$3" "$1") || return
  echo "$((n))"
}

# poke FILE OFFSET BYTES NUMBER
poke() {
  local i text=''
  for ((i = 0; i < $3; ++i)); do
    text+=$(printf '\\x%02x' $(($4 >> 8 * i & 255)))
  done
  # shellcheck disable=SC2059
  printf "$text" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# superblock FILE FIELD: a field of the superblock in block 0.
superblock() {
  case $2 in
    nr_allocated) peek "$1" 52 8 ;;
    bitmap_root) peek "$1" 60 8 ;;
    nr_blocks) peek "$1" 180 4 ;;
    current_era) peek "$1" 184 4 ;;
    current_root) peek "$1" 192 8 ;;
    writeset_tree_root) peek "$1" 200 8 ;;
    era_array_root) peek "$1" 208 8 ;;
    metadata_snap) peek "$1" 216 8 ;;
    *) fail "no field $2" ;;
  esac
}

# pointer_to FILE ROOT I: where block I of the array whose tree has its root in block ROOT is pointed to.
# The tree has at most two levels.
pointer_to() {
  local node=$2 n=0 entries first values=$((32 + 252 * 8))
  if [[ $(peek "$1" $((node * 4096 + 4)) 4) = 1 ]]; then
    entries=$(peek "$1" $((node * 4096 + 16)) 4)
    while ((n + 1 < entries && $(peek "$1" $((node * 4096 + 32 + 8 * (n + 1))) 8) <= $3)); do
      n=$((n + 1))
    done
    node=$(peek "$1" $((node * 4096 + values + 8 * n)) 8)
  fi
  first=$(peek "$1" $((node * 4096 + 32)) 8)
  echo $((node * 4096 + values + 8 * ($3 - first)))
}

# array_block FILE I: the metadata block that holds block I of the era array.
array_block() { peek "$1" "$(pointer_to "$1" "$(superblock "$1" era_array_root)" "$2")" 8; }

# copy_block FILE FROM TO
copy_block() { dd if="$1" of="$1" bs=4096 skip="$2" seek="$3" count=1 conv=notrunc status=none; }

# zero_block FILE BLOCK
zero_block() { dd if=/dev/zero of="$1" bs=4096 seek="$2" count=1 conv=notrunc status=none; }

# crc32c < BYTES: Castagnoli's, not inverted at the end. In a shell of its own: bats follows every step
# of this one, a hundred times slower.
crc32c() {
  od -An -v -tu1 | bash -c '
    for ((n = 0; n < 256; ++n)); do
      crc=$n
      for ((k = 0; k < 8; ++k)); do ((crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1)); done
      table[n]=$crc
    done
    crc=0xffffffff
    for byte in $(cat); do ((crc = table[(crc ^ byte) & 255] ^ crc >> 8)); done
    echo "$((crc))"'
}

# prepare_for_write FILE BLOCK KIND: makes the checksum right again.
prepare_for_write() {
  local salt
  case $3 in
    superblock) salt=146538381 ;;
    node) salt=121107 ;;
    array) salt=595846735 ;;
    index) salt=160478 ;;
    bitmap) salt=240779 ;;
    *) fail "no kind $3" ;;
  esac
  local crc
  crc=$(dd if="$1" bs=4096 skip="$2" count=1 status=none | tail -c 4092 | crc32c) || return
  poke "$1" $(($2 * 4096)) 4 $((crc ^ salt))
}

# --- Reference counts. The images here have one bitmap.

bitmap_of() { peek "$1" $(($(superblock "$1" bitmap_root) * 4096 + 16)) 8; }

# set_count FILE BLOCK 0..2: the count in the bitmap; of two bits, the high one is stored first.
set_count() {
  local bitmap offset byte shift=$(($2 % 4 * 2))
  bitmap=$(bitmap_of "$1")
  offset=$((bitmap * 4096 + 16 + $2 / 4))
  byte=$(peek "$1" $offset 1)
  poke "$1" $offset 1 $((byte & ~(3 << shift) | ($3 >> 1 | ($3 & 1) << 1) << shift))
  prepare_for_write "$1" "$bitmap" bitmap
}

# leak FILE BLOCK: counts a free block as used, consistently.
leak() {
  local index nr_free
  set_count "$1" "$2" 1
  index=$(superblock "$1" bitmap_root)
  nr_free=$((index * 4096 + 24))
  poke "$1" $nr_free 4 $(($(peek "$1" $nr_free 4) - 1))
  prepare_for_write "$1" "$index" index
  poke "$1" 52 8 $(($(superblock "$1" nr_allocated) + 1))
  prepare_for_write "$1" 0 superblock
}

# --- Dumps.

# ranges_of_dump < XML: the era array as "begin end era" lines, never-written blocks left out. Fails
# where blocks do not follow each other.
ranges_of_dump() {
  sed -n -e 's,^    <era block="\([0-9]*\)" era="\([0-9]*\)"/>$,\1 1 \2,p' \
    -e 's,^    <range block_begin="\([0-9]*\)" len="\([0-9]*\)" era="\([0-9]*\)"/>$,\1 \2 \3,p' |
    awk '$1 != next_block { print "block", $1, "follows", next_block; exit 1 }
      { next_block = $1 + $2; if ($3 > 0) print $1, $1 + $2, $3 }' | joined
}

# joined < RANGES: neighbours of one era made one.
joined() {
  awk 'NF != 3 { print "not a range:", $0; next }
    $1 == end && $3 == era { end = $2; next }
    { if (NR > 1) print begin, end, era; begin = $1; end = $2; era = $3 }
    END { if (NR > 0) print begin, end, era }'
}

# truth NAME [snapshot]: what was written, by the log of what the kernel was told to do.
truth() {
  awk -v part="${2:-live}" -v now=live '$1 == "snapshot" { now = $1; next } now == part' \
    "$tests/kernel-images/$1.truth" | joined
}
