#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# A real kernel goes on with metadata that era_sim, era_restore and era_repair have left, and these
# understand what it has made of it. Skipped where no virtual machine can be had: it needs the packages
# qemu-system-x86, linux-image-amd64, busybox-static, cpio, kmod and dmsetup.
load ../helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

@test "a kernel takes over what was simulated, restored and repaired" {
  # Eras 1 to 3, a metadata snapshot, and a power cut.
  printf '%s\n' 'write 640 64' 'message checkpoint' 'write 12800 896' 'message take_metadata_snap' \
    'write 128000 2560' crash >workload
  era_sim --digest manual --metadata simulated.img --create-metadata 4M --size 128M --script workload
  era_dump -o eras.xml simulated.img
  cp simulated.img lost.img && zero_block lost.img 0
  truncate -s 4M restored.img repaired.img && truncate -s 128M origin.img
  era_restore -i eras.xml -o restored.img
  # Era 3 was current. A block that has lost its era may be newer than era 3, the newest that is named.
  refused '--current-era 3 cannot be' \
    era_repair -q -i lost.img -o repaired.img --block-size 128 --current-era 3
  era_repair -q -i lost.img -o repaired.img --block-size 128

  cat >script <<'S'
set -e
for metadata in vda vdb vdc; do
  dmsetup create era --table "0 262144 era /dev/$metadata /dev/vdd 128"
  dmsetup message era 0 checkpoint
  dd if=/dev/zero of=/dev/mapper/era bs=65536 seek=77 count=2 oflag=direct 2>/dev/null
  if [ $metadata = vda ]; then dmsetup message era 0 drop_metadata_snap; fi
  dmsetup message era 0 take_metadata_snap
  dd if=/dev/zero of=/dev/mapper/era bs=65536 seek=90 count=1 oflag=direct 2>/dev/null
  dmsetup status era
  dmsetup remove era
done
S
  run "$tests/kernel/boot" script simulated.img restored.img repaired.img origin.img
  [[ $status != 77 ]] || skip "$output"
  [[ $status = 0 ]] || fail "$output"
  [[ ${#lines[@]} = 3 ]]
  for i in 0 1 2; do
    [[ ${lines[i]} = "0 262144 era 8 "*"/1024 $((i == 2 ? 7 : 6)) "[0-9]* ]] || fail "${lines[i]}"
  done
  # Without its superblock all that was in bitsets counts as written in era 4.
  run -0 era_check repaired.img
  for since in '4 5 6|77 79|90 91|100 107|1000 1020' '5 77 79|90 91' '7 90 91'; do
    same "$(tr '|' '\n' <<<"${since#* }")" \
      "$(era_invalidate --written-since "${since%% *}" --format text repaired.img)" || fail "since $since"
  done
  for name in simulated restored; do
    run -0 era_check $name.img
    for since in '1 5 6|77 79|90 91|100 107|1000 1020' '2 77 79|90 91|100 107|1000 1020' \
      '3 77 79|90 91|1000 1020' '4 77 79|90 91' '6 90 91'; do
      same "$(tr '|' '\n' <<<"${since#* }")" \
        "$(era_invalidate --written-since "${since%% *}" --format text $name.img)" || fail "$name since $since"
    done
    same $'77 79\n1000 1020' \
      "$(era_invalidate --metadata-snapshot --written-since 3 --format text $name.img)"
  done
}

# And the simulator goes on with what a kernel has left.
@test "the simulator takes over what a kernel left" {
  for name in "${images[@]}"; do
    image "$name"
    [[ $name != full ]] || continue # there is no room left in it
    era=$(superblock "$name.img" current_era)
    era_invalidate --written-since 1 --format text "$name.img" >before
    echo 'write 0 8' | era_sim --metadata "$name.img" 2>summary
    run -0 era_check "$name.img"
    [[ $(superblock "$name.img" current_era) = $((era + 1)) ]]
    run -0 era_invalidate --written-since $((era + 1)) --format text "$name.img"
    [[ $output = '0 1' ]]
    same "$({ echo 0 1 && cat before; } | awk '{ for (b = $1; b < $2; ++b) print b }' | sort -nu)" \
      "$(era_invalidate --written-since 1 --format text "$name.img" |
        awk '{ for (b = $1; b < $2; ++b) print b }')"
  done
}

# snapshot_driver takes the steps of a backup of a live device; dm-delay keeps writes under way.
@test "a live device is resumed however the snapshot of its data ends" {
  truncate -s 4M metadata.img && truncate -s 64M origin.img
  cat >script <<'S'
table='0 131072 era /dev/vda /dev/mapper/slow 128'
dmsetup create slow --table '0 131072 delay /dev/vdb 0 0 /dev/vdb 0 50'
dmsetup create era --table "$table"
# The watchdog has the pipe, too: what follows comes after its end. The shell says what was killed.
drive() { { snapshot_driver "$@"; } 2>&1 | grep -v '^Killed'; }
# A write waits while the device is suspended.
write() { dd if=/dev/zero of=/dev/mapper/era bs=65536 count=2 oflag=direct 2>/dev/null && echo written; }
state() { echo "$(dmsetup info era | sed -n 's/^State: *//p'), era $(dmsetup status era | cut -d' ' -f6-)"; }

echo '= it is an era device'
drive era table
drive nothing table
drive slow table

echo '= in order'
write
drive era snapshot 600000 'dmsetup info era | grep -o SUSPENDED; echo $ERA_DEVICE $ERA_NEXT' take
write
drive era take
drive era snapshot 600000 true
drive era drop clean_up
env -u DM_DISABLE_UDEV snapshot_driver era snapshot 600000 true
state

echo '= the command fails, takes too long, or is interrupted'
drive era snapshot 600000 'exit 3'; write
drive era snapshot 100 'sleep 10000'; write
drive era snapshot 100 'trap "" TERM; while :; do sleep 10000; done'; write
# Not even SIGKILL ends a process that reads the suspended device.
drive era snapshot 100 'dd if=/dev/mapper/era of=/dev/null bs=4096 count=1 iflag=direct'; write
drive era snapshot 600000 'kill -TERM $PPID; sleep 10000'; write
state

echo '= the program is killed'
drive era snapshot 600000 'kill -9 $PPID'; write
state

echo '= the program is stopped'
drive era snapshot 3000 'kill -STOP $PPID; echo >/stopped; sleep 60; kill -CONT $PPID' >/said &
while ! [ -e /stopped ]; do usleep 10000; done
write; kill -CONT $(pidof snapshot_driver); wait; cat /said

echo '= the program and its watchdog are killed'
drive era snapshot 600000 'for p in /proc/[0-9]*; do
  ! grep -q era_watchdog $p/comm || kill -9 ${p#/proc/}
done; kill -9 $PPID'
dmsetup info era | grep -o SUSPENDED
drive era snapshot 600000 true
drive era clean_up; write

echo '= the program is killed before it drops the metadata snapshot'
drive era take die
drive era clean_up take drop

echo '= somebody else is at work'
drive era snapshot 600000 'dmsetup resume era'; write
dmsetup load era --table "$table"
drive era snapshot 600000 true
dmsetup suspend era
drive era clean_up
dmsetup clear era
drive era clean_up; write
S
  programs=snapshot_driver run "$tests/kernel/boot" script metadata.img origin.img
  [[ $status != 77 ]] || skip "$output"
  [[ $status = 0 ]] || fail "$output"
  same "$(cat <<'EXPECTED'
= it is an era device
/dev/vda /dev/mapper/slow 128 131072
snapshot_driver: there is no mapped device nothing
snapshot_driver: mapped device slow is no era device: its table has the target delay
= in order
written
SUSPENDED
era 2
next 2
written
snapshot_driver: era device era has a metadata snapshot already, and can have only one. If nobody reads it: dmsetup message era 0 drop_metadata_snap
snapshot_driver: era device era has a metadata snapshot already, and can have only one. If nobody reads it: dmsetup message era 0 drop_metadata_snap
cleaned up:
next 4
ACTIVE, era 4 -
= the command fails, takes too long, or is interrupted
snapshot_driver: the snapshot command failed with exit status 3: exit 3
written
snapshot_driver: the snapshot command was ended, since it took longer than 0.1 s: sleep 10000
written
snapshot_driver: the snapshot command was ended, since it took longer than 0.1 s: trap "" TERM; while :; do sleep 10000; done
written
snapshot_driver: the snapshot command was ended, since it took longer than 0.1 s: dd if=/dev/mapper/era of=/dev/null bs=4096 count=1 iflag=direct
written
snapshot_driver: ended by a signal (Terminated)
written
ACTIVE, era 9 -
= the program is killed
mapped device era was suspended, and is resumed: the program that suspended it has ended
written
ACTIVE, era 10 -
= the program is stopped
written
mapped device era was suspended, and is resumed: the program that suspended it took too long
snapshot_driver: the snapshot command was ended, since it took longer than 3 s: kill -STOP $PPID; echo >/stopped; sleep 60; kill -CONT $PPID
= the program and its watchdog are killed
SUSPENDED
snapshot_driver: era device era is suspended already. If nobody is at work with it: dmsetup resume era
cleaned up: suspended
written
= the program is killed before it drops the metadata snapshot
cleaned up: snapshot
= somebody else is at work
snapshot_driver: somebody resumed era device era while the snapshot command was at work: its snapshot cannot be used
written
snapshot_driver: somebody has loaded a table for era device era, which a resume would activate: forget it with dmsetup clear era
snapshot_driver: era device era is suspended, and somebody has loaded a table: activate it with dmsetup resume era, or forget it with dmsetup clear era
cleaned up: suspended
written
EXPECTED
)" "$output"
}

# Nights of backups while a writer never stops: as a plain image, and as a chain of qcow2 images, each
# compared with the copy of the origin that was made while the device was suspended. The third night ends
# in a power cut; the device grows before the fourth one.
@test "backups of a live device equal its data" {
  for program in era_tools era_backup qemu-img qemu-nbd mke2fs; do
    command -v $program >/dev/null || skip "needs $program"
  done
  truncate -s 4M metadata.img && truncate -s 24M origin.img && truncate -s 200M backups.img
  mke2fs -q -t ext4 backups.img
  cat >common <<'S'
mkdir /tmp /backups && mount -t ext4 /dev/vdc /backups && cd /backups
for name in check invalidate; do ln -s era_tools /bin/era_$name; done
dmsetup create slow --table '0 49152 delay /dev/vdb 0 0 /dev/vdb 0 20'
blocks=256
activate() { dmsetup create era --table "0 $((blocks * 128)) era /dev/vda /dev/mapper/slow 128"; }
# The data's snapshot is a copy, from below the cache of the device.
snapshot="ulimit -S -f unlimited; dd if=/dev/vdb of=/snapshot bs=64k count=\$(cat /tmp/blocks) iflag=direct 2>/dev/null"
writer() {
  while [ ! -e /tmp/stop ]; do
    dd if=/dev/urandom of=/dev/mapper/era bs=64k seek=$((RANDOM % 256)) count=1 oflag=direct 2>/dev/null
  done
}
# backup FORMAT TARGET
backup() {
  echo $blocks >/tmp/blocks
  era_backup --era-device era --source /snapshot --snapshot-command "$snapshot" --state $1.state \
    --format $1 --verify --quiet $2
}
night() {
  backup raw backup.img || return
  cmp /snapshot backup.img && echo "$1: raw equals the data"
  backup qcow2 $1.qcow2 || return
  qemu-img check -q $1.qcow2 && qemu-img convert -O raw $1.qcow2 /restored && cmp /snapshot /restored &&
    echo "$1: the chain equals the data"
  [ "$(dmsetup status era | cut -d' ' -f7)" = - ] || echo 'a metadata snapshot is left'
}
S
  cat common - >script <<'S'
activate
writer &
night 1
night 2
# The third backup is killed while it copies, and then the power goes.
cp raw.state before
(ulimit -S -f 300; backup raw backup.img)
cmp raw.state before && echo '3: cut'
cut_power
S
  boot() {
    programs="era_tools era_backup qemu-img qemu-nbd" run "$tests/kernel/boot" "$@" metadata.img origin.img backups.img
    [[ $status != 77 ]] || skip "$output"
  }
  boot script
  same "$(printf '%s\n' '1: raw equals the data' '1: the chain equals the data' '2: raw equals the data' \
    '2: the chain equals the data' '3: cut')" "$(grep '^[0-9]: ' <<<"$output")" || fail "$output"
  cat common - >script <<'S'
activate
writer &
night 3
# The device grows.
dmsetup suspend era
blocks=384
dmsetup load era --table "0 $((blocks * 128)) era /dev/vda /dev/mapper/slow 128"
dmsetup resume era
night 4
# Killed while the device is suspended, and its watchdog too: the next run resumes it.
snapshot_before=$snapshot
snapshot='for p in /proc/[0-9]*; do ! grep -q era_watchdog $p/comm || kill -9 ${p#/proc/}; done; kill -9 $PPID'
backup raw backup.img
dmsetup info era | grep -o SUSPENDED
snapshot=$snapshot_before
night 5
: >/tmp/stop; wait
dmsetup remove era && dmsetup remove slow && cd / && umount /backups
S
  boot script
  [[ $status = 0 ]] || fail "$output"
  same "$(printf '%s\n' '3: raw equals the data' '3: the chain equals the data' '4: raw equals the data' \
    '4: the chain equals the data' SUSPENDED \
    'era_backup: era: the last backup did not finish: the device is resumed' '5: raw equals the data' \
    '5: the chain equals the data')" "$(grep -v '^Killed' <<<"$output")" || fail "$output"
  run -0 era_check metadata.img
}

# A suspend freezes the file system that is mounted on the device: its journal is empty in the backup, and
# what was written is there, although nobody called sync.
@test "the backup of a mounted file system is a clean one" {
  for program in era_backup mke2fs e2fsck dumpe2fs debugfs; do
    command -v $program >/dev/null || skip "needs $program"
  done
  truncate -s 4M metadata.img && truncate -s 32M origin.img backup.img
  mke2fs -q -t ext4 origin.img
  cat >script <<'S'
dmsetup create era --table "0 65536 era /dev/vda /dev/vdb 128"
mkdir /mnt && mount -t ext4 /dev/mapper/era /mnt
snapshot='dd if=/dev/vdb of=/snapshot bs=64k iflag=direct 2>/dev/null'
(while [ ! -e /stop ]; do head -c 100000 /dev/urandom >/mnt/busy$((RANDOM % 20)); done) &
for night in 1 2 3; do
  head -c 2000000 /dev/urandom >/mnt/night$night
  era_backup --era-device era --source /snapshot --snapshot-command "$snapshot" --state /state --verify \
    --quiet /dev/vdc || echo "night $night failed"
done
: >/stop; wait
cmp /snapshot /dev/vdc && echo 'the backup equals the snapshot'
sha256sum /mnt/night? | cut -d' ' -f1
umount /mnt && dmsetup remove era
S
  programs=era_backup run "$tests/kernel/boot" script metadata.img origin.img backup.img
  [[ $status != 77 ]] || skip "$output"
  [[ $status = 0 ]] || fail "$output"
  [[ ${lines[0]} = 'the backup equals the snapshot' ]] || fail "$output"
  [[ $(dumpe2fs -h backup.img 2>/dev/null) != *needs_recovery* ]] || fail 'the journal is not empty'
  sums=$(printf '%s\n' "${lines[@]:1}")
  run -0 e2fsck -fn backup.img
  for night in 1 2 3; do debugfs -R "dump /night$night night$night" backup.img 2>/dev/null; done
  same "$sums" "$(sha256sum night? | cut -d' ' -f1)"
}

# dm-delay answers none of its requests at once, so a ring has to wait for each.
@test "metadata is read and written through a target that keeps requests waiting" {
  printf '%s\n' 'random-writes 20000 1' 'message checkpoint' 'random-writes 20000 2' >workload
  era_sim --metadata simulated.img --create-metadata 16M --size 64G --group 4096 --script workload
  truncate -s 16M restored.img
  cat >script <<'S'
set -e
exec 2>/errors # no progress on the console
trap '[ $? = 0 ] || cat /errors' EXIT
for name in check dump invalidate restore; do ln -s era_tools /bin/era_$name; done
dmsetup create slow --table "0 32768 delay /dev/vda 0 3"
dmsetup create to --table "0 32768 delay /dev/vdb 0 3"
# Through the ring first: what was read from vda itself could be in a cache.
era_check /dev/mapper/slow >/check 2>&1
era_dump --logical -o /slow.xml /dev/mapper/slow
era_invalidate --written-since 2 -o /slow.list /dev/mapper/slow
era_restore -q -i /slow.xml -o /dev/mapper/to
era_dump --logical -o /restored.xml /dev/mapper/to
dmsetup remove slow
era_check /dev/vda | sed 's/vda/mapper\/slow/' | cmp - /check
era_dump --logical -o /vda.xml /dev/vda
era_invalidate --written-since 2 -o /vda.list /dev/vda
cmp /slow.xml /vda.xml && cmp /slow.list /vda.list && cmp /restored.xml /vda.xml && echo 'all the same'
S
  programs=era_tools run "$tests/kernel/boot" script simulated.img restored.img
  [[ $status != 77 ]] || skip "$output"
  [[ $status = 0 && $output = 'all the same' ]] || fail "$output"
  run -0 era_check restored.img
}
