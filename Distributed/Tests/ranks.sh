#!/bin/bash
# What needs ranks: every scheme against one process, bad input, and what becomes of a run when a rank is killed
# or stops. Nothing here depends on how fast or how busy the machine is, only on patience.
# Usage: ranks.sh DIRECTORY-OF-PROGRAMS [openmpi|mpich] [SEED]
set -uo pipefail
programs=$1
mpi=${2:-openmpi}
# Some problems are drawn anew each time; a failure names the seed.
seed=${3:-$RANDOM}
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

# RUN SIGNAL NAME: sends a rank of a run, chosen at random, the signal: the run must end by itself, not with 0, and
# name the rank, whose number is left in `number`.
strike() {
  local run=$1 signal=$2 name=$3 victim waited=0
  read -r victim number < <(ranks_below "$run" | shuf -n 1)
  if [ -z "${victim:-}" ]; then kill -TERM "$run"; failed "$name: no ranks found"; return 1; fi
  kill -"$signal" "$victim"
  while kill -0 "$run" 2>/dev/null; do
    sleep 0.2; waited=$((waited + 1))
    if [ $waited -gt 3000 ]; then
      kill -KILL "$run" "$victim"; failed "$name: still waiting"; return 1
    fi
  done
  if wait "$run"; then failed "$name: exit code 0"; return 1; fi
  # MPICH's launcher ends a run at once when a rank is killed, and does not say which it was.
  local names="rank $number( |=)"
  if [ "$mpi$signal" = mpichKILL ]; then names="Killed"; fi
  if ! grep -qE "$names" "$work/log"; then failed "$name: rank $number is not named"; return 1; fi
}

# SIGNAL RANKS LIMIT: sends a rank chosen at random the signal in the middle of a run; all must end, with a
# message that names the rank, and what had been measured must be there.
loses_a_rank() {
  local signal=$1 ranks=$2 limit=$3 name="rank of $2 gets SIG$1" number
  rm -f "$work/kept.csv"
  launch "$ranks" "$programs/attnbench-mpi" sweep --n 1k,1M --heads 1 --causal --scheme ring \
    --repeats 1 --check-rows 0 --time-limit "$limit" -o "$work/kept.csv" >"$work/log" 2>&1 &
  local run=$! waited=0
  until [ -s "$work/kept.csv" ]; do
    sleep 0.2; waited=$((waited + 1))
    if [ $waited -gt 3000 ]; then kill -KILL $run; failed "$name: no first cell"; return; fi
  done
  sleep $((RANDOM % 4)).$((RANDOM % 10))
  strike $run "$signal" "$name" || return
  if ! grep -q '^1000,flash' "$work/kept.csv"; then failed "$name: the first cell is lost"; return; fi
  passed "$name (rank $number; the run ends, the first cell is kept)"
}

# SIGNAL RANKS LIMIT: a sweep of cells loses a rank chosen at random once some cells are kept; it ends and names
# the rank, and the same command goes on with the cells that are missing.
loses_a_rank_of_cells() {
  local signal=$1 ranks=$2 limit=$3 name="rank of $2 gets SIG$1 in a sweep of cells" number
  local folder=$work/cells-$signal-$ranks
  local command=("$programs/attnbench-mpi" sweep --shard cells --n 1k,2k,20k --heads 1 --causal
    --strategy "flash,window(64)" --rel-ci 0.01% --cell-timeout 10s --time-limit "$limit" -o "$folder")
  launch "$ranks" "${command[@]}" >"$work/log" 2>&1 &
  local run=$! waited=0
  # The first cell dealt is the longest one, which takes all of its time, and others end long before it.
  until [ "$(grep -c ^1, "$folder/results.csv" 2>/dev/null)" -ge 1 ] 2>/dev/null; do
    sleep 0.2; waited=$((waited + 1))
    if [ $waited -gt 3000 ]; then kill -KILL $run; failed "$name: no first cell"; return; fi
  done
  strike $run "$signal" "$name" || return
  cp "$folder/results.csv" "$work/before.csv"
  if ! launch "$ranks" "${command[@]}" >"$work/log" 2>&1; then failed "$name: does not go on"; return; fi
  local kept; kept=$(grep -c ^1, "$work/before.csv")
  if ! grep -q "6 cells, $kept of them there already" "$work/log"; then
    failed "$name: $kept cells were kept"; return
  fi
  if ! head -c "$(stat -c %s "$work/before.csv")" "$folder/results.csv" | cmp -s - "$work/before.csv"; then
    failed "$name: kept rows changed"; return
  fi
  local cells runs
  cells=$(grep ^1, "$folder/results.csv" | cut -d, -f3 | sort | uniq -c | awk '$1 == 1' | wc -l)
  runs=$(grep ^1, "$folder/results.csv" | cut -d, -f2 | sort -u | wc -l)
  if [ "$cells $runs" != "6 1" ]; then failed "$name: $cells cells of $runs runs"; return; fi
  passed "$name (rank $number; $kept cells were kept, the others followed)"
}

# FILES...: none of these is there.
are_absent() { local file; for file in "$@"; do [ ! -e "$file" ] || return 1; done; }

for ranks in 2 3 4; do
  if launch $ranks "$programs/scheme-check" "$seed" >"$work/log" 2>&1; then
    passed "schemes with $ranks ranks, seed $seed: $(grep -c ^PASS "$work/log") checks"
  else
    failed "schemes with $ranks ranks, seed $seed"
  fi
done

program=$programs/attnbench-mpi
for lengths in 700,1,1299 3,5,7; do
  if launch 3 "$program" verify --packed $lengths --heads 3 --causal \
    --strategy "flash,window(100)" --scheme ring,allgather,alltoall >"$work/log" 2>&1; then
    passed "packed sequences of $lengths rows"
  else
    failed "packed sequences of $lengths rows"
  fi
done
refuses "packed sequences whose states would run together" "packed = with states: a state would go on" \
  launch 2 "$program" verify --packed 10,20 --causal --strategy gated --scheme states
refuses "a length beside packed sequences" "--n 1k: is the sum of --packed" \
  launch 2 "$program" verify --packed 10,20 --n 1k
refuses "a plan of packed sequences" "--packed 10,20: plan takes one sequence" \
  launch 1 "$program" plan --packed 10,20

if launch 1 "$program" plan --n 4k --heads 4 --ranks 2,4 --seconds 10ms --causal \
  -o "$work/plan.csv" --plot "$work/plan.svg" >"$work/log" 2>&1 \
  && [ "$(wc -l <"$work/plan.csv")" = 7 ] && grep -q "</svg>" "$work/plan.svg"; then
  passed "a plan with its CSV and its picture"
else
  failed "a plan with its CSV and its picture"
fi
echo kept >"$work/plan.csv"
refuses "a plan whose picture has no folder" "cannot write: No such file or directory" \
  launch 1 "$program" plan --n 4k -o "$work/plan.csv" --plot "$work/none/plan.svg"
refuses "a picture of no kind" "--plot $work/plan.pdf: a picture is .svg or .png" \
  launch 1 "$program" plan --n 4k -o "$work/plan.csv" --plot "$work/plan.pdf"
refuses "a plan with two outputs in one file" "is the same file as" \
  launch 1 "$program" plan --n 4k -o "$work/plan.svg" --plot "$work/./plan.svg"
if [ "$(cat "$work/plan.csv")" = kept ] && are_absent "$work"/.plan.*; then
  passed "refused plans leave files as they are"
else
  failed "refused plans leave files as they are"
fi

refuses "a scheme for cells" "--scheme ring: with --shard cells each rank measures alone" \
  launch 2 "$program" sweep --shard cells --scheme ring
refuses "a cell's limit for rows" "--cell-timeout 5s: is for cells that are measured one by one" \
  launch 2 "$program" sweep --cell-timeout 5s
refuses "a latency of no link" "--latency 5us: is that of a simulated link" \
  launch 2 "$program" sweep --latency 5us
small=(sweep --shard cells --n 1k --heads 1 --min-samples 1 --cell-timeout 1s -o "$work/small")
if launch 2 "$program" "${small[@]}" >"$work/log" 2>&1; then
  passed "more ranks than cells"
else
  failed "more ranks than cells"
fi
refuses "cells of another command" "holds results of another run: --causal was false, is true" \
  launch 2 "$program" "${small[@]}" --causal
cp "$program" "$work/attnbench-mpi" && printf x >>"$work/attnbench-mpi"
refuses "cells of another build" "holds results of another run: " \
  launch 2 "$work/attnbench-mpi" "${small[@]}"
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
refuses "ranks with different builds" "the program's fingerprint of rank 1" \
  launch 1 "$program" verify --n 100 : -n 1 "$work/attnbench-mpi" verify --n 100

loses_a_rank KILL 4 5s
loses_a_rank KILL 2 5s
loses_a_rank STOP 4 5s
loses_a_rank_of_cells KILL 3 5s
loses_a_rank_of_cells STOP 2 5s

[ $failures = 0 ] || { echo "FAIL: $failures of the checks with ranks"; exit 1; }
echo "PASS: checks with ranks"
