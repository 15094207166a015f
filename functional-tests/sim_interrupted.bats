#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
# era_sim and signals, readers that end, and a terminal: what was done stays.
load helpers
# shellcheck disable=SC2030,SC2031,SC2154  # bats runs each test in a subshell, and run sets variables

# A test that failed leaves nothing that waits for it. Under script, era_sim's own number is in a file.
teardown() {
  cd "$BATS_TEST_TMPDIR/here" || return
  if [[ -n ${pid:-} ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
  if [[ -e pid ]]; then kill -KILL "$(<pid)" 2>/dev/null || true; fi
}

# ends_with STATUS PID: waits for a process that the test started.
ends_with() {
  local status=0
  wait "$2" || status=$?
  pid=
  rm -f pid
  [[ $status = "$1" ]] || fail "it ended with status $status"
}

# wait_until COMMAND: that says yes while the process $pid runs. No clock: it asks again and again.
wait_until() {
  until "$@"; do
    kill -0 "$pid" 2>/dev/null || fail "process $pid ended before: $*" || return
  done
}

@test "a signal ends a wait for input, and what was done stays" {
  mkfifo in out
  for signal in INT TERM HUP; do
    for how in --script --trace ''; do
      # A FIFO whose writer does not come.
      if [[ -n $how ]]; then
        interruptible era_sim --metadata m.img --create-metadata 4M --size 1G $how in 2>err 3>&- &
        pid=$!
        holds_signals $pid
        kill -$signal $pid
        ends_with 1 $pid
        [[ $(<err) = 'era_sim: ended by a signal ('*')' ]] || fail "$signal $how: $(<err)"
        [[ ! -e m.img ]] || fail "$signal $how: m.img is left"
        [[ $how = --script ]] || continue
      fi
      # With part of a line read, after others: once the status has arrived, the input was read.
      exec {writer}<>in {reader}<>out
      input=in
      [[ -n $how ]] || input=-
      interruptible era_sim --metadata m.img --create-metadata 4M --size 1G --script $input \
        <in >out 2>err 3>&- &
      pid=$!
      printf 'write 0 8\nstatus\nwrite 1' >&"$writer"
      read -r line <&"$reader"
      kill -$signal $pid
      ends_with 1 $pid
      exec {writer}>&- {reader}>&-
      [[ $line = '0 2097152 era 8 '* ]]
      [[ $(<err) = 'era_sim: ended by a signal ('*')' ]] || fail "$signal $how: $(<err)"
      run -0 era_check m.img
      same "$(era_invalidate --written-since 1 --format text m.img)" '0 1'
      rm m.img
    done
  done
}

second_line_writes() {
  cp m.img now.img && era_invalidate --written-since 1 --format text now.img | grep -q '^1[0-9][0-9]'
} 2>/dev/null

@test "a signal ends a line in the middle" {
  for signal in INT TERM HUP; do
    printf 'write 1280 8\nrandom-writes 1000000000000 1 100 200\n' >script
    rm -f m.img
    interruptible era_sim --metadata m.img --create-metadata 4M --size 1G --script script 2>err 3>&- &
    pid=$!
    # The second line has written as soon as a block is listed that is not the first line's.
    wait_until second_line_writes
    kill -$signal $pid
    ends_with 1 $pid
    [[ $(<err) = 'era_sim: script:2: ended by a signal ('*')' ]] || fail "$signal: $(<err)"
    run -0 era_check m.img
    run -0 era_invalidate --written-since 1 --format text m.img
    [[ ${lines[0]} = '10 11' && ${lines[1]} = 1* ]] || fail "$output"
  done
}

@test "a signal ends a wait for whoever reads the output" {
  mkfifo out
  exec {reader}<>out
  for ((i = 0; i < 1000; ++i)); do echo help; done >script
  for signal in INT TERM HUP; do
    rm -f m.img
    { echo 'write 0 8' && cat script; } >all
    interruptible era_sim --metadata m.img --create-metadata 4M --size 1G --script all >out 2>err 3>&- &
    pid=$!
    holds_signals $pid
    # It sleeps when the pipe is full.
    wait_until grep -q '^State:.*S (sleeping)' /proc/$pid/status
    kill -$signal $pid
    ends_with 1 $pid
    [[ $(<err) = 'era_sim: all:'*': ended by a signal ('*')' ]] || fail "$signal: $(<err)"
    same "$(era_invalidate --written-since 1 --format text m.img)" '0 1'
  done
  exec {reader}>&-
}

@test "if nobody reads the output, what was done stays and nothing is said" {
  mkfifo out
  exec {reader}<>out {writer}>out {reader}>&-
  printf 'write 0 8\nstatus\nwrite 128 8\n' >script
  run -1 bash -c "era_sim --metadata m.img --create-metadata 4M --size 1G --script script >&$writer 2>err"
  exec {writer}>&-
  [[ ! -s err ]] || fail "$(<err)"
  same "$(era_invalidate --written-since 1 --format text m.img)" '0 1'
}

# --- At a terminal.

# at_terminal ARGUMENT...: era_sim on a terminal that types what is in the file typed, and shows into shown.
at_terminal() {
  needs_terminal
  script -qec "era_sim --metadata m.img $*" /dev/null <typed >shown
}

@test "at a terminal it prompts, answers, and a mistake is no end" {
  printf '%s\n' 'write 0 8' wrte '' '# nothing' 'write 0 136' 'message checkpoint' 'digest all' suspend \
    table help quit 'write 1000 8' >typed
  at_terminal --create-metadata 1M --size 1M
  tr -d '\r' <shown >text
  run cat text
  [[ $output = *'era> '*"era_sim: there is no command 'wrte'; see help"* ]]
  [[ $output = *'sequential-writes COUNT [FIRST]'* ]]
  same "$(grep -o '0 2048 era.*\|ok: .*' text)" "ok: era 1, 1 block marked, 1 commit
ok: era 1, 1 block marked, 1 commit
ok: era 2, 0 blocks marked, 2 steps digested, 1 commit
ok: era 2, 0 blocks marked, 1 commit
ok: suspended, 0 blocks marked, 1 commit
0 2048 era m.img - 128"
  [[ ${lines[-1]} = *'era_sim: 2 writes, '* ]]
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '0 2' ]]
}

@test "at a terminal a line that is no text is a mistake, and the end of input an end" {
  { printf 'wri\0te\n' && head -c 4000 /dev/zero | tr '\0' x && printf '\nwrite 0 8\n'; } >typed
  at_terminal --create-metadata 1M --size 1M
  grep -q 'era_sim: standard input:1: the line has a NUL byte: it is no text' shown
  grep -q "there is no command 'xxxx*\.\.\.'; see help" shown
  grep -q 'ok: era 1, 1 block marked' shown
  run -0 era_invalidate --written-since 1 --format text m.img
  [[ $output = '0 1' ]]
}

@test "at a terminal a signal ends it at the prompt, and within a line, which shows its progress" {
  needs_terminal
  mkfifo typed
  for signal in INT TERM HUP; do
    rm -f m.img shown pid && : >shown
    exec {keyboard}<>typed
    script -qefc 'echo $$ >pid; exec env --default-signal=HUP,INT,TERM era_sim --metadata m.img --create-metadata 4M --size 1G' \
      /dev/null <typed >shown 2>&1 3>&- &
    pid=$!
    wait_until grep -q 'era> ' shown
    if [[ $signal = INT ]]; then
      kill -$signal "$(<pid)"
      ends_with 1 $pid
      [[ ! -e m.img ]] || fail 'm.img is left'
    else
      echo 'random-writes 1000000000000 1' >&"$keyboard"
      wait_until grep -q 'era_sim: standard input:1: 0%' shown
      kill -$signal "$(<pid)"
      ends_with 1 $pid
      run -0 era_check m.img
    fi
    exec {keyboard}>&-
    grep -q 'era_sim: ended by a signal (' shown || fail "$(cat -v shown)"
  done
}

@test "on a terminal a script shows how far it is" {
  needs_terminal
  # A line that has no end, after two thirds of the script.
  { printf '#%80s\n' x && echo 'random-writes 10000000000000000000 1      '; } >script
  : >shown
  script -qefc 'echo $$ >pid; exec env --default-signal=HUP,INT,TERM era_sim --metadata m.img --create-metadata 4M --size 1G --script script' \
    /dev/null >shown 2>&1 3>&- &
  pid=$!
  wait_until grep -q 'era_sim: script:2: 65%, [0-9:]* left' shown
  kill "$(<pid)"
  ends_with 1 $pid
}
