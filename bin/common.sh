# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The common part of bin/check, bin/demo, bin/run-tests and .ci/run: Debian's packages, the build, and the
# counting of tests. Sourced, from the top of the tree or anywhere.

# shellcheck disable=SC2034  # used by those that source this
build_packages=(autoconf g++ make libaio-dev libdevmapper-dev libexpat1-dev libfmt-dev libisal-dev
  libjansson-dev liblzma-dev libnbd-dev liburing-dev libzstd-dev qemu-utils xz-utils zlib1g-dev)
# shellcheck disable=SC2034
test_packages=(acl attr bats clang-format-14 e2fsprogs gddrescue jq libgmock-dev libgtest-dev libnbd-bin mandoc mount
  procps shellcheck thin-provisioning-tools zstd)
# shellcheck disable=SC2034
kernel_packages=(busybox-static cpio dmsetup kmod linux-image-amd64 qemu-system-x86 xz-utils)
# shellcheck disable=SC2034
bench_packages=(libbenchmark-dev mount)

passed=0
failed=0
skipped=0

# show COMMAND...: prints the command, then runs it.
show() {
  printf '$%s\n' "$(printf ' %q' "$@")"
  "$@"
}

# install_packages PACKAGE...: those that are missing, with apt-get; asks the network only for them.
install_packages() {
  local installed package missing=() as_root=()
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
  for package; do
    grep -qx "$package installed" <<<"$installed" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  [[ $(id -u) = 0 ]] || as_root=(sudo)
  if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here. Install what Debian calls ${missing[*]}," \
      "then: autoconf && ./configure && make check" >&2
  elif ! command -v "${as_root[@]:-true}" >/dev/null; then
    echo "As root, then again: apt-get install ${missing[*]}" >&2
  else
    show "${as_root[@]}" apt-get -qq update &&
      show "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o DPkg::Lock::Timeout=300 --no-install-recommends install "${missing[@]}" && return 0
  fi
  return 1
}

# build NAME TARGETS [CONFIGURE ARGUMENT...]: configures in build/NAME and makes the targets there; make
# builds again only what the configuration changed.
build() {
  local dir=build/$1 targets=$2
  shift 2
  [[ configure -nt configure.ac ]] || show autoconf || return 1
  mkdir -p "$dir" || return 1
  # shellcheck disable=SC2086  # targets are words
  (cd "$dir" && show ../../configure --quiet "$@") &&
    show make --no-print-directory -C "$dir" -j"$(nproc)" $targets
}

# build_with_sanitizers TARGET...: the same with clang++, in build/sanitizers, for tests and fuzzers. The
# fuzzers' coverage is counted without comparisons, whose tracing doubles the time of the tests.
build_with_sanitizers() {
  build sanitizers "$*" CXX=clang++ CXXFLAGS='-O1 -g1 -fsanitize-coverage=inline-8bit-counters,pc-table' \
    CPPFLAGS=-D_GLIBCXX_ASSERTIONS --with-sanitizers=address,undefined --enable-werror
}

# step NAME COMMAND...: one thing that passes or fails.
step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" </dev/null; then
    passed=$((passed + 1))
    took "$name" "$start"
  else
    failed=$((failed + 1))
    echo "FAILED: $name"
    return 1
  fi
}

# took NAME START: how long a part took that began at START, if that is worth a line.
took() {
  local seconds=$((SECONDS - $2))
  ((seconds < 5)) || printf '%s took %d s\n' "$1" "$seconds"
}

# leave_out NAME WHY: one thing that cannot be done here.
leave_out() {
  printf '\n== %s\nskipped: %s\n' "$1" "$2"
  skipped=$((skipped + 1))
}

# counted COMMAND...: adds up what a command that ends in `report` has counted. One that fails without
# having counted a failure died, and counts as one.
counted() {
  local totals p f s before=$failed status=0 start=$SECONDS
  totals=$(mktemp)
  ERA_TOTALS=$totals "$@" </dev/null || status=$?
  while read -r p f s; do
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  done <"$totals"
  rm -f "$totals"
  took "$*" "$start"
  if ((status != 0 && failed == before)); then
    failed=$((failed + 1))
    echo "FAILED: $* (status $status)"
  fi
  ((status == 0))
}

# report: the closing line, or, for a caller that counts over several, its numbers in ERA_TOTALS.
# Fails if any test did.
report() {
  local line="$passed passed, $failed failed"
  ((skipped == 0)) || line+=", $skipped skipped"
  if [[ -n ${ERA_TOTALS:-} ]]; then
    echo "$passed $failed $skipped" >>"$ERA_TOTALS"
    line="(${0##*/}: $line)"
  fi
  printf '\n%s\n' "$line"
  ((failed == 0))
}
