#!/bin/bash
# What needs ranks: every scheme against one process, bad input, and what becomes of a run when a rank is killed
# or stops. Nothing here depends on how fast or how busy the machine is, only on patience.
# Usage: ranks.sh DIRECTORY-OF-PROGRAMS [openmpi|mpich]
set -uo pipefail
programs=$1
mpi=${2:-openmpi}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# As root and with more ranks than cores, as in a container; no rank is bound to a core that another has.
if [ "$mpi" = mpich ]; then
  launcher=(mpirun.mpich)
else
  launcher=(mpirun.openmpi --oversubscribe --allow-run-as-root --bind-to none)
fi
launch() { "${launcher[@]}" -n "$@"; }

passed() { echo "PASS $1"; }
failed() { echo "FAIL $1"; sed 's/^/     | /' "$work/log" | tail -20; failures=$((failures + 1)); }

# NAME TEXT COMMAND...: the command fails, and says TEXT once.
refuses() {
  local name=$1 text=$2; shift 2
  if "$@" >"$work/log" 2>&1; then failed "$name: exit code 0"; return; fi
  local count; count=$(grep -cF -- "$text" "$work/log")
  if [ "$count" = 1 ]; then passed "$name"; else failed "$name: '$text' $count times"; fi
}

# The ranks below a process: PID and rank, a line each.
ranks_below() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    if [ "$(basename "$(readlink /proc/$child/exe 2>/dev/null)")" = attnbench-mpi ]; then
      tr '\0' '\n' 2>/dev/null </proc/$child/environ \
        | sed -nE "s/^(OMPI_COMM_WORLD_RANK|PMI_RANK)=([0-9]+)\$/$child \2/p" | head -1
    else
      ranks_below "$child"
    fi
  done
}

# SIGNAL RANKS LIMIT: sends a rank chosen at random the signal in the middle of a run; all must end, with a
# message that names the rank, and what had been measured must be there.
loses_a_rank() {
  local signal=$1 ranks=$2 limit=$3 name="rank of $2 gets SIG$1"
  rm -f "$work/kept.csv"
  launch "$ranks" "$programs/attnbench-mpi" sweep --n 1k,1M --heads 1 --causal --scheme ring \
    --repeats 1 --check-rows 0 --time-limit "$limit" -o "$work/kept.csv" >"$work/log" 2>&1 &
  local run=$! waited=0
  until [ -s "$work/kept.csv" ]; do
    sleep 0.2; waited=$((waited + 1))
    if [ $waited -gt 3000 ]; then kill -KILL $run; failed "$name: no first cell"; return; fi
  done
  sleep $((RANDOM % 4)).$((RANDOM % 10))
  local victim number
  read -r victim number < <(ranks_below $run | shuf -n 1)
  if [ -z "${victim:-}" ]; then kill -TERM $run; failed "$name: no ranks found"; return; fi
  kill -"$signal" "$victim"
  waited=0
  while kill -0 $run 2>/dev/null; do
    sleep 0.2; waited=$((waited + 1))
    if [ $waited -gt 3000 ]; then kill -KILL $run "$victim"; failed "$name: still waiting"; return; fi
  done
  if wait $run; then failed "$name: exit code 0"; return; fi
  # MPICH's launcher ends a run at once when a rank is killed, and does not say which it was.
  local names="rank $number( |=)"
  if [ "$mpi$signal" = mpichKILL ]; then names="Killed"; fi
  if ! grep -qE "$names" "$work/log"; then failed "$name: rank $number is not named"; return; fi
  if ! grep -q '^1000,flash' "$work/kept.csv"; then failed "$name: the first cell is lost"; return; fi
  passed "$name (rank $number; the run ends, the first cell is kept)"
}

for ranks in 2 4; do
  if launch $ranks "$programs/scheme-check" >"$work/log" 2>&1; then
    passed "schemes with $ranks ranks: $(grep -c ^PASS "$work/log") checks"
  else
    failed "schemes with $ranks ranks"
  fi
done

program=$programs/attnbench-mpi
refuses "more ranks than rows" "ranks = 2: must be at least 1 and at most n (1)" \
  launch 2 "$program" verify --n 1 --scheme ring
refuses "a scheme that a pattern cannot take" "scheme = halo: the queries of flash" \
  launch 2 "$program" verify --n 1k --scheme halo
refuses "fewer heads than ranks" "scheme = alltoall: needs a key/value head for every rank" \
  launch 2 "$program" sweep --n 1k --heads 4 --kv-heads 1 --scheme alltoall
refuses "another function than softmax on a ring" "scheme = for linear: partial results" \
  launch 2 "$program" verify --n 1k --strategy linear --scheme ring
refuses "an unknown scheme" "scheme = rink: must be auto or one of" \
  launch 2 "$program" sweep --scheme rink
refuses "an unknown option" "Unknown option '--bogus'" launch 2 "$program" sweep --bogus
refuses "ranks with different arguments" "the arguments of rank 1 = 'verify --n 200'" \
  launch 1 "$program" verify --n 100 : -n 1 "$program" verify --n 200
cp "$program" "$work/attnbench-mpi" && printf x >>"$work/attnbench-mpi"
refuses "ranks with different builds" "the program's fingerprint of rank 1" \
  launch 1 "$program" verify --n 100 : -n 1 "$work/attnbench-mpi" verify --n 100

loses_a_rank KILL 4 5s
loses_a_rank KILL 2 5s
loses_a_rank STOP 4 5s

[ $failures = 0 ] || { echo "FAIL: $failures of the checks with ranks"; exit 1; }
echo "PASS: checks with ranks"
