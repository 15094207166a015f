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
  # Era 3 was current. What has lost its era may be newer than the newest that is named, era 3.
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
