#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# thin-provisioning-tools and these agree on restored metadata, wherever the former are right.
# ERA_PEERS names directories with their era_check and so on, separated by colons; without it those of
# the installed package are taken. They leave out the current writeset, which restored metadata does
# not have: a restore archives it.
load helpers
# shellcheck disable=SC2030,SC2031  # bats runs each test in a subshell

setup() {
  mkdir "$BATS_TEST_TMPDIR/here" && cd "$BATS_TEST_TMPDIR/here" || return
  exec </dev/null
  IFS=: read -r -a peers <<<"${ERA_PEERS:-/usr/sbin}"
  for peer in "${peers[@]}"; do
    [[ -x $peer/pdata_tools ]] || skip "thin-provisioning-tools are not in $peer"
  done
}

# same_text FILE COMMAND...: except a newline at the end, which 1.1.0 leaves out, and spaces around the
# equals sign that 0.9.0 prints in ranges.
same_text() { cmp "$1" <("${@:2}" | sed -e 's/ = "/="/' -e '$a\'); }

# restored NAME: NAME.xml from NAME.img, and out.img from NAME.xml.
restored() {
  era_dump "$1.img" >"$1.xml" && rm -f out.img && truncate -s 8M out.img &&
    era_restore -i "$1.xml" -o out.img
}

@test "they find restored metadata sound, and dump it to the byte" {
  for name in "${images[@]}"; do
    image "$name" && restored "$name"
    for peer in "${peers[@]}"; do
      run -0 "$peer/era_check" out.img
      same_text "$name.xml" "$peer/era_dump" out.img || fail "$peer: $name"
    done
  done
}

@test "what they restore is sound, and dumped to the byte" {
  for name in "${images[@]}"; do
    image "$name" && era_dump "$name.img" >"$name.xml"
    for peer in "${peers[@]}"; do
      rm -f out.img && truncate -s 8M out.img
      "$peer/era_restore" -i "$name.xml" -o out.img
      run -0 era_check out.img
      era_dump out.img | cmp - "$name.xml" || fail "$peer: $name"
    done
  done
}

# The compact form is ours alone.
@test "compact dumps restore to what full ones do" {
  for name in "${images[@]}"; do
    image "$name" && era_dump --compact -o c.xml "$name.img"
    rm -f out.img && truncate -s 8M out.img && era_restore -i c.xml -o out.img
    for peer in "${peers[@]}"; do
      same_text <(era_dump "$name.img") "$peer/era_dump" out.img || fail "$peer: $name"
    done
  done
}

# 1.1.0 skips the era array where no writeset is pending: each image gets one that lists nothing.
@test "they list the same blocks of restored metadata, since every era" {
  for name in "${images[@]}"; do
    image "$name" && era_dump --compact "$name.img" >c.xml
    nr_blocks=$(superblock "$name.img" nr_blocks) era=$(superblock "$name.img" current_era)
    grep -q "<writeset era=\"$era\"" c.xml ||
      sed -i "1a <writeset era=\"$era\" nr_bits=\"$nr_blocks\"/>" c.xml
    rm -f out.img && truncate -s 8M out.img && era_restore -i c.xml -o out.img
    for ((since = 0; since <= era + 1; ++since)); do
      era_invalidate --written-since "$since" out.img >ours 2>/dev/null
      for peer in "${peers[@]}"; do
        same_text ours "$peer/era_invalidate" --written-since "$since" out.img ||
          fail "$peer: $name since $since"
      done
    done
  done
}

@test "XML that they print is restored" {
  for name in "${images[@]}"; do
    image "$name" && era_dump "$name.img" >ours.xml
    # Theirs leave out the current writeset of an image; not of what was restored.
    rm -f in.img out.img && truncate -s 8M in.img out.img && era_restore -i ours.xml -o in.img
    for peer in "${peers[@]}"; do
      "$peer/era_dump" in.img >theirs.xml && era_restore -i theirs.xml -o out.img
      era_dump out.img | cmp - ours.xml || fail "$peer: $name"
    done
  done
}

# generated NR_BLOCKS: XML with an era array and two writesets.
generated() {
  awk -v n="$1" 'BEGIN {
    printf "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"%d\" current_era=\"9\">\n", n
    for (e = 8; e <= 9; ++e) { # 1.1.0 wants all up to the current one
      printf "  <writeset era=\"%d\" nr_bits=\"%d\">\n", e, n
      for (b = 0; b < n; ++b)
        printf "    <bit block=\"%d\" value=\"%s\"/>\n", b, b % (e * 100) < 3 ? "true" : "false"
      print "  </writeset>"
    }
    print "  <era_array>"
    for (b = 0; b < n; ++b) printf "    <era block=\"%d\" era=\"%d\"/>\n", b, int(b / 7) % 4
    print "  </era_array>\n</superblock>"
  }'
}

@test "restored metadata of sizes around the ends of blocks and nodes" {
  for n in 1 1017 1018 1019 32575 32576 32577 256535 256536 256537; do
    generated $n >x.xml && rm -f out.img && truncate -s 8M out.img
    era_restore -i x.xml -o out.img
    run -0 era_check out.img
    era_dump out.img | cmp - x.xml
    for peer in "${peers[@]}"; do
      run -0 "$peer/era_check" out.img
      same_text x.xml "$peer/era_dump" out.img || fail "$peer: $n"
      for since in 1 3 8 9; do
        same_text <(era_invalidate --written-since $since out.img) \
          "$peer/era_invalidate" --written-since $since out.img || fail "$peer: $n since $since"
      done
    done
  done
}
