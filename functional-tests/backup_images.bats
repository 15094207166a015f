#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_backup into qcow2 images, bitmaps and NBD servers, by way of the programs of qemu.
load helpers
load backup_helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

@test "a plain backup does not overwrite a qcow2 image" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  backup -q --format qcow2 b.img 2>err
  cp b.img before
  cp state good
  simulate 'random-writes 5 7'
  refused 'is a qcow2 image, and would be overwritten.*--format qcow2' backup b.img
  for how in "--state other" "--written-since 2" --full "--full --format raw"; do
    # shellcheck disable=SC2086
    refused 'b.img: begins like a qcow2 image, and would be overwritten' \
      era_backup --metadata m.img --source origin $how b.img
  done
  cmp b.img before && cmp state good
  # Unless the source is one itself.
  qemu-img create -q -f qcow2 inner 1M
  dd if=inner of=origin conv=notrunc status=none
  era_backup -q --metadata m.img --source origin --full --state raw c.img
  era_backup -q --metadata m.img --source origin --full c.img
  dd if=/dev/zero of=origin bs=4096 count=1 conv=notrunc status=none
  simulate 'write 0 8'
  era_backup -q --metadata m.img --source origin --state raw c.img
  cmp origin c.img
}

@test "a killed backup leaves no program of qemu and no file" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  mkdir bin
  # A server that no client has reached yet.
  printf '#!/bin/sh\ntrap "" TERM\necho $$ >%q/server\nexec tail -f /dev/null 3>&-\n' "$PWD" >bin/qemu-nbd
  chmod +x bin/qemu-nbd
  PATH=$PWD/bin:$PATH era_backup -q --metadata m.img --source origin --full b.qcow2 3>&- &
  pid=$!
  until [[ -s server ]]; do kill -0 "$pid" || fail 'era_backup has ended'; done
  kill -KILL "$pid"
  wait "$pid" || true
  # Gone, or ended and not yet waited for.
  until [[ ! -e /proc/$(<server) || $(<"/proc/$(<server)/stat") = *') Z '* ]] 2>/dev/null; do :; done
  rm -f .era_* bin/qemu-nbd
  # The signal comes while the image is being made: it has to wait until that has ended, or the file
  # is there again.
  printf '#!/bin/sh\n%s\n%s\n%s "$@"\nstatus=$?\necho >%q/made\nexit $status\n' \
    '[ "$1" = create ] && kill -TERM $PPID' \
    'until grep -q "^S..Pnd:.*[4-7c-f]...$" /proc/$PPID/status || ! [ -e /proc/$PPID ]; do :; done 2>/dev/null' \
    "$(command -v qemu-img)" "$PWD" >bin/qemu-img
  chmod +x bin/qemu-img
  run bash -c "PATH=$PWD/bin:$PATH exec era_backup -q --metadata m.img --source origin --full b.qcow2"
  until [[ -e made ]]; do :; done
  [[ $status = 143 && ! -e b.qcow2 && -z $(compgen -G '.era_*') ]]
}

@test "signals of the terminal do not reach the programs of qemu" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  mkdir bin
  printf '#!/bin/sh\ncut -d" " -f5 /proc/self/stat >>%q/groups\nexec %s "$@"\n' "$PWD" "$(command -v qemu-img)" >bin/qemu-img
  printf '#!/bin/sh\ncut -d" " -f5 /proc/self/stat >>%q/groups\nexec %s "$@"\n' "$PWD" "$(command -v qemu-nbd)" >bin/qemu-nbd
  chmod +x bin/*
  own=$(cut -d' ' -f5 /proc/self/stat)
  PATH=$PWD/bin:$PATH era_backup -q --metadata m.img --source origin --full b.qcow2 3>&-
  [[ $(wc -l <groups) -ge 2 ]]
  run ! grep -qx "$own" groups
}

@test "few files may be open" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  run -1 --separate-stderr bash -c 'ulimit -n 20; exec era_backup -q --metadata m.img --source origin --full b.qcow2 3>&-'
  [[ $stderr = *'no more than 20 files may be open'*'ulimit -n'* && ! -e b.qcow2 ]] || fail "$stderr"
  bash -c 'ulimit -Sn 20; exec era_backup -q --metadata m.img --source origin --full b.qcow2 3>&-'
  qemu-img compare -q origin b.qcow2
}

@test "how a program ended is known if the caller ignores it" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  (
    trap '' CHLD
    exec era_backup -q --metadata m.img --source origin --full b.qcow2 3>&-
  )
  qemu-img compare -q origin b.qcow2
}

@test "a full disk leaves no image and the old state" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  [[ $(id -u) = 0 ]] || skip 'needs root to mount a small file system'
  first_night
  simulate 'random-writes 40 4'
  cp state before
  mkdir small && mount -t tmpfs -o size=1M none small || skip 'needs tmpfs'
  run --separate-stderr backup small/image.qcow2
  left=$(ls -A small)
  umount small
  [[ $status = 1 && -z $left && $stderr = *'small/image.qcow2: '*'No space left on device'* ]]
  cmp state before
}

@test "a chain of images" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  for night in 1 2 3 4; do
    run -0 --separate-stderr backup --json --verify $night.qcow2
    written=$(jq '.bytes - .zero_bytes' <<<"$output")
    run -0 qemu-img check -q $night.qcow2
    run -0 qemu-img convert -O raw $night.qcow2 restored
    cmp origin restored
    # Exactly what was written is allocated.
    [[ $(qemu-img map --output=json $night.qcow2 | jq '[.[] | select(.depth == 0 and .data).length] | add') = \
      "$written" ]]
    simulate "random-writes 9 $night" 'message checkpoint' "write $((night * 4096)) 8"
  done
  [[ $(stat -c %a 4.qcow2) = 600 && -z $(compgen -G '.era_*') ]]
  refused '4.qcow2: is the last backup, which state describes' backup 4.qcow2
  refused '3.qcow2: is there already' backup 3.qcow2
  # The images may be moved, and merged.
  cp origin earlier
  backup -q 5.qcow2
  mkdir elsewhere && mv ./*.qcow2 elsewhere
  qemu-img commit -q elsewhere/5.qcow2
  qemu-img convert -O raw elsewhere/4.qcow2 restored
  cmp earlier restored
}

@test "an image whose state cannot be written is taken back" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  # The name cannot be in JSON: known only when all is copied.
  odd=$'odd\xff.qcow2'
  refused 'is no UTF-8' backup -q "$odd"
  [[ ! -e $odd && ! -e state && -z $(compgen -G '.era_*') ]]
  backup -q night.qcow2 2>err
}

@test "an image in a directory whose name looks like a protocol" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  mkdir 01:00
  backup -q 01:00/1.qcow2 2>err
  simulate 'random-writes 5 7'
  backup -q --verify 01:00/2.qcow2
  qemu-img convert -O raw ./01:00/2.qcow2 restored
  cmp origin restored
}

@test "the backing file is an earlier backup" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  first_night
  refused 'origin: is the source itself' era_backup --metadata m.img --source origin --written-since 2 --backing origin 2.qcow2
  refused 'm.img: is the metadata' era_backup --metadata m.img --source origin --written-since 2 --backing m.img 2.qcow2
  refused '--written-since 0' era_backup --metadata m.img --source origin --written-since 0 --backing backup.img 2.qcow2
  refused 'new: all blocks are copied, and --backing has no effect' \
    era_backup --metadata m.img --source origin --state new --backing backup.img 2.qcow2
  [[ ! -e 2.qcow2 && ! -e new ]]
}

@test "an image over a plain backup, and of a device that has grown" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  first_night
  tr '\0' z </dev/zero | head -c 1000448 >>origin
  printf '%s\n' 'suspend' "reload $(($(stat -c %s origin) / 512))" 'resume' 'write 0 8' |
    era_sim --metadata m.img --origin origin --script - >/dev/null 2>err
  backup -q --verify over.qcow2
  qemu-img convert -O raw over.qcow2 restored
  cmp origin restored
  qemu-img info over.qcow2 | grep -q 'backing file format: raw'
}

@test "a chain that does not fit" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  era=(era_backup --metadata m.img --source origin)
  refused 'changed blocks alone make no image: --backing' "${era[@]}" --written-since 1 a.qcow2
  refused 'No such file' "${era[@]}" --written-since 1 --backing none a.qcow2
  truncate -s 17M large
  refused 'large: is no backup of the source' "${era[@]}" --written-since 1 --backing large a.qcow2
  "${era[@]}" -q --full --format qcow2 image
  refused 'begins like a qcow2 image' "${era[@]}" --written-since 1 --backing image a.qcow2
  refused 'exclude each other' "${era[@]}" --full --backing image a.qcow2
  refused 'no effect without' "${era[@]}" --written-since 1 --backing image a.img
  refused 'without\|needs' "${era[@]}" --full --backing-format raw a.qcow2
  [[ ! -e a.qcow2 && -z $(compgen -G '.era_*') ]]
  "${era[@]}" -q --written-since 1 --backing image --backing-format qcow2 a.qcow2
}

@test "an image does not continue what the source lies on" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  first_night
  cp origin before
  # The last backup has become the origin.
  mv backup.img origin
  ln origin backup.img
  refused 'backup.img: is the source itself' backup n.qcow2
  # So does an image whose data file is the source.
  era_backup -q --metadata m.img --source origin --written-since 1 --bitmap b marks.qcow2
  refused 'origin: is the source itself' era_backup --metadata m.img --source origin --written-since 1 \
    --backing marks.qcow2 n.qcow2
  [[ ! -e n.qcow2 ]]
}

@test "the summary is not written into the image below" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device && backup -q first.qcow2 2>err
  simulate 'write 0 8'
  cp first.qcow2 before
  run -1 --separate-stderr bash -c 'era_backup --metadata m.img --source origin --state state second.qcow2 1<>first.qcow2'
  [[ $stderr = *'standard output: is the backing file'* ]] || fail "$stderr"
  cmp first.qcow2 before
}

@test "the same command after a lost summary" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  run -1 bash -c 'era_backup --metadata m.img --source origin --state state first.qcow2 2>err >/dev/full'
  grep -q 'the backup has been made, and only its summary is lost' err
  refused 'first.qcow2: is the last backup, which state describes' backup first.qcow2
  [[ $(jq -r .target state) = "$PWD/first.qcow2" ]]
}

@test "an image of a plain block device that is larger than the source" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device
  truncate -s 20M disk
  attach disk
  ln -s "$loop" stable
  backup -q stable 2>err
  simulate 'write 0 8'
  backup -q n.qcow2 2>err
  same "$PWD/stable" "$(qemu-img info --output=json n.qcow2 | jq -r '."backing-filename"')"
  qemu-img convert -O raw n.qcow2 plain
  cmp origin plain
}

@test "an image over a plain backup that was not finished" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  first_night
  grown_origin
  small_disk 17M
  cp backup.img small/
  run -1 era_backup --metadata m.img --source origin --written-since 2 small/backup.img
  head -c 1M /dev/zero >>origin
  simulate suspend 'reload 43008' resume 'write 0 8'
  era_backup -q --metadata m.img --source origin --written-since 2 --backing small/backup.img --verify n.qcow2
  qemu-img convert -O raw n.qcow2 plain
  cmp origin plain
}

@test "an image that lacks blocks past the end of the one below needs a state" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  first_night
  grown_origin
  cp origin kept
  attach origin
  truncate -s 18M origin
  run --separate-stderr era_backup --metadata m.img --source "$loop" --keep-going --written-since 2 \
    --backing backup.img n.qcow2
  [[ $status = 1 && $stderr = *'n.qcow2: is not made: blocks past the end of the last backup'* && ! -e n.qcow2 ]] ||
    fail "$status $stderr"
  run -1 era_backup --metadata m.img --source "$loop" --keep-going --state state n.qcow2
  cp kept whole && mv whole origin
  backup -q next.qcow2
  qemu-img convert -O raw next.qcow2 plain
  cmp origin plain
}

@test "the name of the last backup may be that of the next one" {
  command -v qemu-img >/dev/null || skip 'needs qemu-utils'
  device && backup -q latest.qcow2 2>err
  mv latest.qcow2 monday.qcow2
  simulate 'write 0 8'
  backup -q --backing monday.qcow2 latest.qcow2
  qemu-img convert -O raw latest.qcow2 plain
  cmp origin plain
}

# It would wait for its client for ever if the images took all descriptors.
@test "qemu-nbd can open every image of a long chain, or is not started" {
  command -v qemu-nbd >/dev/null || skip 'needs qemu-utils'
  device
  backup -q 0.qcow2
  simulate 'write 0 8'
  for i in {1..70}; do qemu-img create -q -f qcow2 -F qcow2 -b $((i - 1)).qcow2 $i.qcow2; done
  cp state before
  over_52() { timeout 60 bash -c "ulimit -n $1; exec era_backup -q --metadata m.img --source origin \
    --written-since 2 --backing 52.qcow2 y.qcow2" 3>&-; }
  for limit in 64 116; do
    run -1 --separate-stderr over_52 $limit
    [[ $stderr = *"52.qcow2: a chain of 53 files needs 117 open files, and no more than $limit files may be open: raise"* ]] || fail "$stderr"
  done
  over_52 117
  qemu-img convert -O raw y.qcow2 plain
  cmp origin plain
  cmp before state
  bash -c 'ulimit -Sn 20; exec era_backup -q --metadata m.img --source origin --state state --backing 70.qcow2 x.qcow2' 3>&-
  qemu-img convert -O raw x.qcow2 plain
  cmp origin plain
}

@test "a bitmap for other backup programs" {
  command -v nbdinfo >/dev/null || skip 'needs libnbd-bin'
  device
  simulate 'write 640 64' 'write 12800 300' 'write 32640 128'
  cp origin before
  run -0 era_backup --metadata m.img --source origin --written-since 2 --bitmap changed for-others.qcow2
  [[ $output = '5 blocks (320.0 KiB) marked in bitmap changed of for-others.qcow2; next time: --written-since 3' ]]
  qemu-nbd -r -B changed --fork -k "$PWD/socket" --pid-file=pid -f qcow2 for-others.qcow2
  uri="nbd+unix:///?socket=$PWD/socket"
  run -0 nbdinfo --map=qemu:dirty-bitmap:changed "$uri"
  kill "$(<pid)"
  same "$(era_invalidate --written-since 2 --format text --unit byte m.img)" \
    "$(awk '$4 == "dirty" { print $1, $1 + $2 }' <<<"$output")"
  cmp origin before
  refused 'exclude each other' backup --bitmap changed other.qcow2
  refused 'only a qcow2 image' era_backup --metadata m.img --source origin --full --bitmap b --format raw other
  refused 'there already' era_backup --metadata m.img --source origin --full --bitmap b for-others.qcow2
  [[ ! -e other && ! -e other.qcow2 ]]
}

@test "an NBD server as the target" {
  command -v qemu-nbd >/dev/null || skip 'needs qemu-utils'
  first_night
  simulate 'random-writes 30 4'
  qemu-nbd --fork --persistent -k "$PWD/socket" --pid-file=pid -f raw backup.img
  uri="nbd+unix:///?socket=$PWD/socket"
  run -0 era_backup --metadata m.img --source origin --written-since 2 --verify --json "$uri"
  kill "$(<pid)"
  [[ $(jq -r .target <<<"$output") = "$uri" ]]
  cmp origin backup.img
  refused 'cannot connect' era_backup --metadata m.img --source origin --full "$uri"
  refused 'give the full path of the socket' backup --full 'nbd+unix:///?socket=socket'
  refused 'plain image' era_backup --metadata m.img --source origin --full --format qcow2 "$uri"
}

@test "an NBD server that takes larger units than the source has is refused" {
  command -v qemu-nbd >/dev/null || skip 'needs qemu-utils'
  head -c 102912 /dev/urandom >origin
  era_sim --metadata m.img --create-metadata 4M --origin origin --block-size 8 --script /dev/null 2>err
  truncate -s 104K backup.img
  cp backup.img before.img
  qemu-nbd --fork --persistent -k "$PWD/socket" --pid-file=pid --image-opts \
    driver=blkdebug,align=4096,image.driver=file,image.filename=backup.img 3>&-
  run -1 era_backup --metadata m.img --source origin --full "nbd+unix:///?socket=$PWD/socket"
  kill "$(<pid)"
  [[ $output = *"socket: its server takes multiples of 4096 bytes only, and the source has 102912; "* ]]
  cmp before.img backup.img
}
