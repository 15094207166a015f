# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the benchmarks: metadata of 16,000,000 blocks as a long life leaves it.

# fragmented FILE: makes it, if it is not there: 300 eras of 64 writes at random, and all of them
# digested but the last few.
fragmented() {
  [[ ! -e $1 ]] || return 0
  awk -v blocks=16000000 'BEGIN {
    seed = 7
    for (era = 0; era < 300; ++era) {
      for (i = 0; i < 64; ++i) {
        seed = (seed * 16807) % 2147483647
        printf "write %d 8\n", seed % blocks * 128
      }
      print "message checkpoint"
      if (era % 10 == 5) print "digest all"
    }
  }' >"$1.script"
  "${ERA_BIN:?}/era_sim" --metadata "$1.new" --create-metadata 160M --block-size 128 \
    --size $((16000000 * 128)) --script "$1.script" >"$1.log"
  rm "$1.script" "$1.log"
  mv "$1.new" "$1"
}
