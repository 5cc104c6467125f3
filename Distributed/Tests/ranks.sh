#!/bin/bash
# What needs ranks: every scheme against one process, and what becomes of a run whose ranks fail.
# Usage: ranks.sh DIRECTORY-OF-PROGRAMS [openmpi|mpich]
set -uo pipefail
programs=$1
mpi=${2:-openmpi}
failures=0

# As root and with more ranks than cores, as in a container; no rank is bound to a core that another has.
if [ "$mpi" = mpich ]; then
  launch() { mpirun.mpich -n "$@"; }
else
  launch() { mpirun.openmpi --oversubscribe --allow-run-as-root --bind-to none -n "$@"; }
fi

check() { # NAME COMMAND...: succeeds
  local name=$1; shift
  if "$@"; then echo "PASS $name"; else echo "FAIL $name"; failures=$((failures + 1)); fi
}

for ranks in 2 4; do
  launch $ranks "$programs/scheme-check" | tail -1
  check "schemes with $ranks ranks" [ "${PIPESTATUS[0]}" = 0 ]
done

[ $failures = 0 ] || { echo "FAIL: $failures of the checks with ranks"; exit 1; }
echo "PASS: checks with ranks"
