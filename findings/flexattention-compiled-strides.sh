#!/usr/bin/env bash
# FlexAttention compiled for the CPU: a BlockMask of other strides is another mask.
#
# Guess:    the tensors of a BlockMask are values like any others: an expanded or a transposed one means
#           what its contiguous copy means, or it is refused.
# Happens:  - the kernel finds the counts of full blocks by the strides of the counts of partial blocks.
#             Partial counts that are one row, expanded over heads, have the stride 0 there, and every head
#             takes the full counts of head 0.
#           - it takes the indices of a row to lie next to each other. Of kv_indices whose last stride is
#             not 1 it reads those of other rows.
#           Both are silent. to_dense() is right for either mask.
# Instead:  contiguous() on all four tensors before from_kv_blocks.
# Seen in:  torch 2.13.0 on the CPU; 2.15.0 the same.
# Needs:    g++ (or CXX) and Python's headers, for torch.compile.
set -euo pipefail
compiler=${CXX:-g++}
command -v "$compiler" >/dev/null || { echo "torch.compile needs a C++ compiler: no $compiler" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0

TORCHINDUCTOR_CACHE_DIR="$work/cache" "$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights.
block, blocks = 16, 4
n = block * blocks
zeros, value = torch.zeros(1, 2, n, n), torch.eye(n).expand(1, 2, n, n).contiguous()
compiled = torch.compile(flex_attention)


def rows(layout):
    return " ".join("".join("#" if seen else "." for seen in row) for row in layout)


def show(name, *tensors):
    mask = BlockMask.from_kv_blocks(*tensors, BLOCK_SIZE=block)
    output = compiled(zeros, zeros, value, block_mask=mask)
    seen = (output.view(2, blocks, block, blocks, block) != 0).any(4).any(2)
    dense = mask.to_dense()[0]
    tokens = dense.repeat_interleave(block, -2).repeat_interleave(block, -1).float()
    right = torch.allclose(output[0], tokens / tokens.sum(-1, keepdim=True), atol=1e-5)
    print(f"{name}: {'right' if right else 'wrong'}")
    for head in range(2):
        print(f"  head {head}: to_dense {rows(dense[head])}, seen {rows(seen[head])}")


# Head 0 sees the diagonal, head 1 the lower triangle.
visible = torch.stack([torch.eye(blocks), torch.ones(blocks, blocks).tril()]).bool()[None]
count = visible.sum(-1, dtype=torch.int32)
index = visible.int().argsort(dim=-1, descending=True, stable=True).int()
none = torch.zeros(1, 1, blocks, dtype=torch.int32).expand(1, 2, blocks)
transposed = index.mT.contiguous().mT
assert torch.equal(transposed, index) and torch.equal(none.contiguous(), none)

show("all contiguous", count, index)
show("last stride of the indices 4", count, transposed)
show("the same, contiguous()", count, transposed.contiguous())
show("full blocks, no partial ones, their counts expanded", none, index.clone(), count, index)
show("the same, contiguous()", none.contiguous(), index.clone(), count, index)
PYTHON

diff - "$work/seen" <<'SEEN'
all contiguous: right
  head 0: to_dense #... .#.. ..#. ...#, seen #... .#.. ..#. ...#
  head 1: to_dense #... ##.. ###. ####, seen #... ##.. ###. ####
last stride of the indices 4: wrong
  head 0: to_dense #... .#.. ..#. ...#, seen #... .#.. ..#. ...#
  head 1: to_dense #... ##.. ###. ####, seen #... #... ##.. ##..
the same, contiguous(): right
  head 0: to_dense #... .#.. ..#. ...#, seen #... .#.. ..#. ...#
  head 1: to_dense #... ##.. ###. ####, seen #... ##.. ###. ####
full blocks, no partial ones, their counts expanded: wrong
  head 0: to_dense #... .#.. ..#. ...#, seen #... .#.. ..#. ...#
  head 1: to_dense #... ##.. ###. ####, seen #... #... #... #...
the same, contiguous(): right
  head 0: to_dense #... .#.. ..#. ...#, seen #... .#.. ..#. ...#
  head 1: to_dense #... ##.. ###. ####, seen #... ##.. ###. ####
SEEN
