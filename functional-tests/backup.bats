#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_backup from outside: nights of backups of a simulated device, and all that must not pass for one.
load helpers
load backup_helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

@test "the same command line serves every night" {
  device
  run --separate-stderr backup backup.img
  [[ $status = 0 && $stderr = "era_backup: state: is not there yet: all blocks are copied" ]]
  [[ $output = "256 blocks (16.0 MiB) copied to backup.img in "*"; next time: --written-since 2" ]]
  cmp origin backup.img
  for night in 2 3 4 5 6; do
    simulate "random-writes 20 $night" "message checkpoint" "write $((night * 4096)) 8"
    listed=$(era_invalidate --written-since "$(jq .next_era state)" --format json m.img | jq .count)
    run --separate-stderr backup --json --verify backup.img
    [[ $status = 0 && -z $stderr ]]
    [[ $(jq -c '[.blocks,.verified]' <<<"$output") = "[$listed,true]" && $listed -lt 40 ]]
    cmp origin backup.img
  done
}

@test "exactly the listed blocks are written" {
  device
  tr '\0' x </dev/zero | head -c 16M >backup.img
  cp backup.img expected
  simulate 'write 256 8' 'write 12800 300'
  era_invalidate --written-since 2 --format text --unit byte m.img |
    while read -r begin end; do
      dd if=origin of=expected bs=64K conv=notrunc status=none skip=$((begin / 65536)) \
        seek=$((begin / 65536)) count=$(((end - begin) / 65536))
    done
  era_backup -q --metadata m.img --source origin --written-since 2 backup.img
  cmp backup.img expected
}

@test "something has to say since when" {
  device
  refused 'nothing says since when' era_backup --metadata m.img --source origin backup.img
  refused 'exclude each other' era_backup --metadata m.img --source origin --full --written-since 2 backup.img
  refused 'no target was named' era_backup --metadata m.img --source origin --full
  refused '--source' era_backup --metadata m.img --full backup.img
  refused '--state' era_backup --metadata m.img --source origin --full --state '' backup.img
  [[ ! -e backup.img ]]
}

@test "an era that cannot have begun is refused" {
  device
  refused 'era 3 cannot have begun' era_backup --metadata m.img --source origin --written-since 3 b.img
  [[ ! -e b.img ]]
}

@test "a target that is not the last backup's is refused" {
  first_night
  cp backup.img other.img
  cp state before
  refused "$PWD/backup.img.*--full copies all" backup other.img
  rm backup.img
  refused 'backup.img: is not there' backup backup.img
  cmp state before
  backup -q --full other.img
  [[ $(jq -r .target state) = "$PWD/other.img" ]]
  cmp origin other.img
}

@test "metadata that was made anew is refused, and so is another device's" {
  first_night
  cp backup.img before.img
  cp state before
  for eras in 2 5; do
    mapfile -t script < <(yes 'message checkpoint' | head -n $eras)
    rm m.img
    era_sim --metadata m.img --create-metadata 4M --size 16M --script - >/dev/null 2>&1 \
      < <(printf '%s\n' 'write 8192 128' "${script[@]}")
    refused 'does not go together.*block .* was last written in era' backup backup.img
  done
  rm m.img
  era_sim --metadata m.img --create-metadata 4M --size 16M --block-size 256 --script - \
    >/dev/null 2>&1 <<<'message checkpoint'
  refused 'blocks of 128 sectors, and the metadata of 256' backup backup.img
  cmp state before && cmp backup.img before.img
}

@test "metadata of an earlier time is refused" {
  device
  cp m.img earlier.img
  simulate 'message checkpoint' 'message checkpoint'
  backup -q backup.img 2>err
  cp earlier.img m.img
  refused 'the current era was 4, and is 1; .* --full copies all' backup backup.img
  refused 'the current era was 4, and is 1; .* --full copies all' backup --repair backup.img
}

@test "the source has to be the device that the metadata is about" {
  device
  truncate -s 15M small
  refused 'has 240 blocks of 128 sectors.*about 256' era_backup --metadata m.img --source small --full b.img
  refused 'No such file' era_backup --metadata m.img --source nothing --full b.img
  refused 'both the source and the metadata' era_backup --metadata m.img --source m.img --full b.img
  refused 'is the source itself' era_backup --metadata m.img --source origin --full origin
  refused 'is the metadata' era_backup --metadata m.img --source origin --full m.img
}

@test "a device that has grown is backed up whole, one that was shrunk is refused" {
  truncate -s 16M origin
  era_sim --metadata m.img --create-metadata 4M --origin origin --size 15M --script - >/dev/null 2>err \
    <<<'write 0 8'
  # The last block is a part: 15 MiB and a sector.
  truncate -s $((15 * 1024 * 1024 + 512)) origin
  simulate 'suspend' "reload $((15 * 2048 + 1))" 'resume'
  backup -q backup.img 2>err
  cmp origin backup.img

  # What is in the new blocks was never written through the device.
  truncate -s 15M origin
  tr '\0' y </dev/zero | head -c 2M >>origin
  simulate 'suspend' "reload $((17 * 2048))" 'resume'
  run --separate-stderr backup --json backup.img
  [[ $status = 0 && $(jq .blocks <<<"$output") = 32 ]]
  cmp origin backup.img

  truncate -s 16M origin
  simulate 'suspend' "reload $((16 * 2048))" 'resume'
  refused 'the device had 17825792 bytes, and has 16777216.*--full' backup backup.img
}

@test "a metadata snapshot needs the era that began after the data's" {
  first_night
  simulate 'message take_metadata_snap' 'write 0 8'
  refused 'needs --next-era' backup --metadata-snapshot backup.img
  # The metadata snapshot is older than what was written before era 9.
  refused 'era 9 had not begun' backup --metadata-snapshot --next-era 9 backup.img
  refused 'before era 2' backup --metadata-snapshot --next-era 1 backup.img
  backup -q --metadata-snapshot --next-era 2 backup.img
  [[ $(jq .next_era state) = 2 ]]
  # What was written after the snapshots is in the next backup.
  simulate 'message drop_metadata_snap'
  backup -q backup.img
  cmp origin backup.img
}

@test "a state that was damaged is refused" {
  first_night
  cp state good
  for wrong in '' '{"era_backup_state":2}' '{"era_backup_state":1,'; do
    printf '%s' "$wrong" >state
    refused '^era_backup: state: .*--full' backup backup.img
  done
  head -c 100 good >state
  refused '^era_backup: state: .*--full' backup backup.img
  backup -q --full backup.img
  [[ $(jq .next_era state) = 2 ]]
  : >state
  backup -q --full backup.img
  [[ $(jq .next_era state) = 2 ]]
  needs_modes
  chmod 0 good
  refused 'good: Permission denied' unprivileged era_backup --metadata m.img --source origin --state good b.img
}

@test "what is no state is not replaced by one" {
  first_night
  for wrong in '{}' '[1]' wrong "$(head -c 300 origin | base64)"; do
    printf '%s' "$wrong" >mine
    cp mine before
    for full in '' --full; do
      # shellcheck disable=SC2086
      refused 'mine: is there, and no state of era_backup; name another file' \
        era_backup --metadata m.img --source origin --state mine $full new.img
    done
    cmp mine before
    [[ ! -e new.img ]]
  done
}

@test "the state is no file of the backup" {
  device
  cp origin whole.img
  refused 'new.img: is the target, and cannot be the state' era_backup --metadata m.img --source origin --state new.img --full new.img
  refused 'new.qcow2: is the target' era_backup --metadata m.img --source origin --state "$PWD/new.qcow2" new.qcow2
  ln -s new.img link
  refused 'link: is the target' era_backup --metadata m.img --source origin --state link ./new.img
  : >empty
  ln empty hard
  refused 'empty: is the target' era_backup --metadata m.img --source origin --full --state empty hard
  refused 'origin: is the source' era_backup --metadata m.img --source origin --full --state origin new.img
  refused 'm.img: ' era_backup --metadata m.img --source origin --full --state m.img new.img
  [[ ! -e new.img && ! -e new.qcow2 ]]
  cmp origin whole.img
  refused 'No such file or directory' era_backup --metadata m.img --source origin --state none/state new.img
  mkfifo pipe
  refused 'pipe: is no regular file' era_backup --metadata m.img --source origin --state pipe new.img
  refused 'pipe: is no regular file' era_backup --metadata m.img --source origin --full --state pipe new.img
  : >open
  refused 'fd/7: is an open file, and a state is replaced as a whole' era_backup --metadata m.img --source origin --full --state /dev/fd/7 new.img 7<>open
  refused 'a state is kept in a file' era_backup --metadata m.img --source origin --full --state - new.img
  refused 'is no UTF-8' era_backup --metadata m.img --source origin --state state $'odd\xff'
  [[ ! -e new.img && ! -e $'odd\xff' && ! -e state ]]
}

# Of two, the older could finish last, and replace newer blocks, or the newer state.
@test "one backup with a state runs at a time" {
  first_night
  simulate 'write 0 8'
  ln -s state link
  cp state before
  exec 9>>state.live
  flock 9
  refused 'state: another backup with this state is at work' backup backup.img
  refused 'link: another backup with this state is at work' era_backup --metadata m.img --source origin --state link backup.img
  refused 'state: another backup with this state is at work' backup --full backup.img
  cmp before state
  era_backup -q --metadata m.img --source origin --state other other.img 9>&-
  exec 9>&-
  backup -q backup.img
  cmp origin backup.img
  refused 'state.live: is the target, and has to be the journal of state' backup --full state.live
  [[ ! -s state.live ]]
  cp backup.img other.live
  refused 'other.live: is there, and no journal of era_backup' era_backup --metadata m.img --source origin --full --state other new.img
  cmp backup.img other.live
}

@test "a backup keeps others out until it has ended" {
  command -v qemu-nbd >/dev/null || skip 'needs qemu-utils'
  device
  truncate -s 16M backup.img
  qemu-nbd --fork --persistent -k "$PWD/socket" --pid-file=pid -f raw backup.img 3>&-
  kill -STOP "$(<pid)"
  backup -q "nbd+unix:///?socket=$PWD/socket" 3>&- &
  while [[ ! -e state.live ]] || flock -n state.live true; do :; done
  refused 'state: another backup with this state is at work' backup new.img
  kill -CONT "$(<pid)"
  wait $!
  kill "$(<pid)"
  cmp origin backup.img
  flock -n state.live true
}

# In a directory that may not be written to, the state is overwritten in its place.
@test "a state has no journal if none can be made beside it" {
  needs_modes
  device
  mkdir there
  backup -q backup.img
  mv state there
  rm state.live
  chmod 555 there
  theirs() { unprivileged era_backup --metadata m.img --source origin --state there/state "$@"; }
  simulate 'write 0 8'
  exec 9<there
  flock 9
  refused 'there/state: another backup with this state is at work' theirs backup.img
  exec 9<&-
  theirs -q backup.img
  cmp origin backup.img
  [[ $(ls there) = state ]]
  chmod 755 there
  : >there/state.live
  chmod 400 there/state.live
  simulate 'write 128 8'
  theirs -q backup.img
  cmp origin backup.img
  chmod 000 there/state.live
  refused 'let this user read and write the journal of the state' theirs backup.img
}

@test "damaged metadata is refused, unless it is to be repaired" {
  first_night
  simulate 'write 0 8'
  zero_block m.img "$(array_block m.img 0)"
  refused 'nothing is listed' backup backup.img
  run --separate-stderr backup --repair --json backup.img
  [[ $status = 0 && $stderr = *'blocks are copied only because it is unknown'* ]]
  [[ $(jq .in_doubt <<<"$output") -gt 0 ]]
  cmp origin backup.img
}

@test "the disk of the target is full" {
  first_night
  simulate 'write 0 8'
  small_disk 1M
  run --separate-stderr era_backup --metadata m.img --source origin --full small/backup.img
  [[ $status = 1 && $stderr = *'small/backup.img: cannot write at byte '*'No space left on device'* ]]
}

@test "a file that grows is no backup before all of its new end is there" {
  first_night
  grown_origin
  # The disk is full after the new length was given, and before the blocks are there.
  small_disk 17M
  cp backup.img small/
  run --separate-stderr era_backup --metadata m.img --source origin --written-since 2 small/backup.img
  [[ $status = 1 && $stderr = *'No space left on device'* ]] || fail "$status $stderr"
  same $((20 * 1048576 + 512)) "$(stat -c %s small/backup.img)"
  mount -o remount,size=40M small
  run --separate-stderr era_backup --metadata m.img --source origin --written-since 2 --verify --json small/backup.img
  same 0 "$status"
  same 65 "$(jq .blocks <<<"$output")"
  cmp origin small/backup.img
  # With a state, and a target that was emptied.
  : >small/backup.img
  mount -o remount,size=10M small
  jq -c --arg target "$PWD/small/backup.img" '.target = $target' state >moved
  run --separate-stderr era_backup --metadata m.img --source origin --state moved small/backup.img
  [[ $status = 1 && $stderr = *'No space left on device'* ]] || fail "$status $stderr"
  mount -o remount,size=40M small
  era_backup --metadata m.img --source origin --state moved -q small/backup.img
  cmp origin small/backup.img
}

@test "a file and a device of one name are two targets" {
  first_night
  truncate -s 16M disk
  attach disk
  mv backup.img kept.img && ln -s "$loop" backup.img
  refused 'was a file, and is a block device now; --full copies all' backup backup.img
}

@test "a full backup does without the disk of the last one" {
  device
  mkdir gone && backup -q gone/backup.img 2>err
  rm -r gone
  backup -q --full backup.img
  cmp origin backup.img
}

@test "a full backup of the last target by another name spoils its state" {
  first_night
  ln backup.img alias.img
  simulate 'write 0 8'
  run -1 bash -c 'ulimit -f 3000; exec era_backup -q --metadata m.img --source origin --state state --full alias.img'
  run -0 --separate-stderr backup --json backup.img
  same 256 "$(jq .blocks <<<"$output")"
  cmp origin backup.img
}

@test "a block device is known by the name that was given" {
  device
  truncate -s 16M disk other
  attach disk
  ln -s "$loop" stable
  backup -q stable 2>err
  same "$PWD/stable" "$(jq -r .target state)"
  # After the next boot it has another number.
  losetup --detach "$loop" && rm loops
  attach other
  attach disk
  ln -sf "$loop" stable
  simulate 'write 0 8'
  backup -q stable
  cmp origin disk
}

@test "a pipe is no target and no backing file" {
  first_night
  mkfifo pipe && ln -s pipe link
  for name in pipe link; do
    refused "$name: is a pipe.*neither a block device nor a regular file" \
      timeout 60 era_backup --metadata m.img --source origin --full "$name"
    refused "$name: is a pipe.*neither a block device nor a regular file" \
      timeout 60 era_backup --metadata m.img --source origin --written-since 1 --backing "$name" n.qcow2
  done
  refused 'not to a pipe; a file of that name is ./-' era_backup --metadata m.img --source origin --full -
  [[ ! -e - && ! -e n.qcow2 ]]
}

@test "an output that cannot be written is an error, with the state whole by then" {
  first_night
  simulate 'write 0 8'
  cp state before
  run -1 bash -c 'era_backup --metadata m.img --source origin --written-since 2 backup.img >/dev/full'
  cmp state before
}

@test "a backup that was killed is completed by the next one" {
  first_night
  simulate 'random-writes 100 3'
  cp state before
  cp origin data
  # The program may write no more than so many KiB, and is killed at the next one.
  for limit in 8 64 700 3000; do
    run bash -c "ulimit -f $limit; era_backup -q --metadata m.img --source origin --state state backup.img"
    [[ $status != 0 ]] || fail "limit $limit"
    cmp state before
  done
  backup -q --verify backup.img
  cmp data backup.img
}

@test "a full backup that cannot begin leaves the state" {
  first_night
  cp state before
  mkfifo end
  flock -s backup.img bash -c 'echo >locked; read -r <end' 3>&- &
  until [[ -e locked ]]; do :; done
  run -1 --separate-stderr era_backup --full --metadata m.img --source origin --state state backup.img
  echo >end
  wait $!
  [[ $stderr = *'backup.img: is being read or written'* ]] || fail "$stderr"
  cmp before state
}

@test "a block that cannot be read is asked for again" {
  device
  simulate 'random-writes 20 7'
  cp origin kept
  attach origin
  # What the file lacks cannot be read from the device.
  truncate -s 8M origin
  run --separate-stderr era_backup --metadata m.img --source "$loop" --keep-going --full backup.img
  [[ $status = 1 && $stderr = *'could not be read, and the backup lacks them' ]] || fail "$stderr"
  [[ $output = *'next time: --written-since 0' ]] || fail "$output"
  cmp -n 8388608 kept backup.img
}

@test "blocks past the old end that cannot be read are asked for again" {
  first_night
  cp backup.img stateless.img
  grown_origin
  cp origin kept
  attach origin
  truncate -s 18M origin
  for arguments in '--written-since 2 stateless.img' '--state state backup.img'; do
    # shellcheck disable=SC2086  # words
    run --separate-stderr era_backup --metadata m.img --source "$loop" --keep-going $arguments
    [[ $status = 1 && $stderr = *'could not be read, and the backup lacks them'* ]] || fail "$status $stderr"
  done
  # The file remembers it, or the state does.
  same "$((20 * 1048576 + 512)) $((20 * 1048576))" "$(stat -c %s stateless.img backup.img | xargs)"
  cp kept whole && mv whole origin
  era_backup -q --metadata m.img --source origin --written-since 2 stateless.img
  cmp origin stateless.img
  backup -q backup.img
  cmp origin backup.img
}

@test "a night whose metadata had to be repaired does not skip an era" {
  truncate -s 16M origin
  era_sim --metadata m.img --create-metadata 4M --block-size 8 --origin origin --size 16M --script - >/dev/null 2>err \
    <<<$'write 0 8\nmessage checkpoint\nwrite 1280 8'
  # Tonight the superblock cannot be read.
  cp m.img bad.img
  zero_block bad.img 0
  era_backup -q --metadata bad.img --source origin --state state --repair --block-size 8 backup.img 2>err
  [[ $(jq '.current_era, .next_era' state) = $'2\n3' ]] || fail "$(<state)"
  simulate 'write 2560 8' 'write 5120 16'
  backup -q backup.img
  cmp origin backup.img
}

@test "a state that was being overwritten is replaced by a full backup" {
  first_night
  printf 'incomplete: the program that was writing this file was stopped\nrest' >state
  refused 'state: a backup was stopped while it overwrote this state; --full copies all' backup backup.img
  backup -q --full backup.img
  simulate 'write 0 8'
  backup -q backup.img
  cmp origin backup.img
}

@test "standard output is nothing that the backup is made of" {
  device
  for name in m.img origin; do
    cp $name before
    run -1 --separate-stderr bash -c "era_backup --metadata m.img --source origin --full backup.img 1<>$name"
    [[ $stderr = 'era_backup: standard output: is the '*' and would change it'* ]] || fail "$stderr"
    cmp before $name
  done
}

@test "a summary that cannot be printed does not hide the backup" {
  device
  mkfifo pipe
  printed_to() { run -1 --separate-stderr bash -c "era_backup --metadata m.img --source origin --full backup.img $1"; }
  printed_to '>/dev/full'
  [[ $stderr = *': No space left on device; the backup has been made, and only its summary is lost' ]] || fail "$stderr"
  printed_to '4<>pipe >pipe 4<&-'
  [[ $stderr = *': standard output is closed; the backup has been made, and only its summary is lost' ]] || fail "$stderr"
  cmp origin backup.img
}

@test "a full backup that was cut is no backup of its target" {
  first_night
  # The target has become bad, and is to be written anew. That is cut after some blocks.
  head -c 16M /dev/urandom >backup.img
  run bash -c 'ulimit -f 3000; era_backup -q --full --metadata m.img --source origin --state state backup.img'
  [[ $status != 0 && $(jq .next_era state) = 0 ]]
  run -0 --separate-stderr backup backup.img
  [[ $stderr = 'era_backup: state: a full backup was not finished: all blocks are copied' ]]
  cmp origin backup.img
  # One to another place leaves what the state knows.
  run bash -c 'ulimit -f 3000; era_backup -q --full --metadata m.img --source origin --state state other.img'
  [[ $status != 0 ]]
  simulate 'write 0 8'
  run -0 --separate-stderr backup --json backup.img
  [[ $(jq .blocks <<<"$output") = 1 ]]
  cmp origin backup.img
}

@test "a state that cannot be written is an error" {
  needs_modes
  first_night
  simulate 'write 0 8'
  mkdir there && mv state there/ && cp there/state before
  chmod 555 there && chmod 444 there/state
  refused 'cannot write there/state\|there/state: Permission denied' \
    unprivileged era_backup -q --metadata m.img --source origin --state there/state backup.img
  chmod 755 there
  cmp there/state before
  # What was copied is copied again.
  run -0 --separate-stderr era_backup --metadata m.img --source origin --state there/state --json backup.img
  [[ $(jq .blocks <<<"$output") = 1 ]]
}

@test "a live device needs a state, and a command that takes its snapshot" {
  refused 'no metadata was named' era_backup --source origin --full b.img
  refused 'needs --state' era_backup --era-device d --snapshot-command true --source origin --full b.img
  refused 'need each other' era_backup --era-device d --state state --source origin b.img
  refused 'need each other' era_backup --metadata m.img --state state --snapshot-command true --source origin b.img
  refused 'exclude each other' era_backup --era-device d --metadata m.img --state state --source origin b.img
  echo wrong >state
  refused 'no state of era_backup' era_backup --full --era-device d --snapshot-command true --state state --source origin b.img
  [[ $(<state) = wrong ]]
  echo '{"era_backup_state"' >state
  refused 'state: line 2' era_backup --era-device d --snapshot-command true --state state --source origin b.img
  [[ ! -e state.live ]]
}

@test "the state is replaced only after the target is whole" {
  needs_modes
  first_night
  simulate 'write 0 8'
  chmod 444 backup.img
  cp state before
  refused 'backup.img: Permission denied' unprivileged era_backup --metadata m.img --source origin --state state backup.img
  cmp state before
}

@test "the target must not be in use" {
  [[ $(id -u) = 0 ]] || skip 'needs root for a loop device'
  first_night
  loop=$(losetup --find --show backup.img) || skip 'needs a loop device'
  run -1 --separate-stderr backup backup.img
  losetup --detach "$loop"
  [[ $stderr = *'is in use'* ]]
}

@test "devices as source and target" {
  [[ $(id -u) = 0 ]] || skip 'needs root for loop devices'
  device
  truncate -s 20M disk
  source=$(losetup --find --show origin) || skip 'needs loop devices'
  target=$(losetup --find --show disk)
  status=0
  era_backup --metadata m.img --source "$source" --full --verify "$target" || status=$?
  losetup --detach "$source"
  losetup --detach "$target"
  [[ $status = 0 ]]
  cmp -n $((16 << 20)) origin disk
}

@test "a device of large sectors, and a source that ends within one" {
  [[ $(id -u) = 0 ]] || skip 'needs root for loop devices'
  head -c 4194816 /dev/urandom >origin
  era_sim --metadata m.img --create-metadata 4M --origin origin --script - 2>err >/dev/null <<<'write 0 8193'
  truncate -s 8M disk
  target=$(losetup --find --show --sector-size 4096 disk) || skip 'needs loop devices'
  status=0
  era_backup --metadata m.img --source origin --full --verify "$target" || status=$?
  losetup --detach "$target"
  [[ $status = 0 ]]
  cmp -n 4194816 origin disk
}
