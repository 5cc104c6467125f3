#!/usr/bin/env bash
# FlexAttention, a BlockMask made from blocks: compiled, the blocks count; eager, they do not.
#
# Guess:    BlockMask.from_kv_blocks says which blocks of keys each block of queries sees, and mask_mod,
#           which is optional, what is hidden inside them. Eager and compiled compute one function, so
#           eager is the reference to test the compiled one against.
# Happens:  eager never reads the blocks. It computes all scores and applies mask_mod alone, so without one
#           it is full attention. to_dense() shows the blocks all the same, and eager's only warning is
#           about speed.
# Instead:  let mask_mod repeat the blocks, by looking up the blocks of i and j in a table: eager is then
#           right, and compiled stays right. A mask from create_block_mask has its blocks from mask_mod
#           and is right in both.
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
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights.
block, blocks = 16, 4
n = block * blocks
zeros, value = torch.zeros(1, 1, n, n), torch.eye(n)[None, None]
compiled = torch.compile(flex_attention)


def rows(layout):
    return " ".join("".join("#" if seen else "." for seen in row) for row in layout)


def blocks_of(matrix):
    return (matrix.view(blocks, block, blocks, block) != 0).any(3).any(1)


def causal(b, h, i, j):
    return j <= i


def as_listed(b, h, i, j):
    return visible[i // block, j // block]


order = torch.arange(blocks)
visible = (order[:, None] - order).abs() <= 1
count = visible.sum(-1, dtype=torch.int32)[None, None]
index = visible.int().argsort(dim=-1, descending=True, stable=True).int()[None, None]
print(f"{'':32}{'to_dense':20} {'eager':20} compiled")
for name, mask in (
    ("blocks, no mask_mod", BlockMask.from_kv_blocks(count, index, BLOCK_SIZE=block)),
    ("blocks, all of them full", BlockMask.from_kv_blocks(
        torch.zeros_like(count), index.clone(), count, index, BLOCK_SIZE=block)),
    ("blocks, causal inside", BlockMask.from_kv_blocks(
        count, index, BLOCK_SIZE=block, mask_mod=causal)),
    ("blocks, mask_mod repeats them", BlockMask.from_kv_blocks(
        count, index, BLOCK_SIZE=block, mask_mod=as_listed)),
    ("create_block_mask", create_block_mask(as_listed, 1, 1, n, n, "cpu", BLOCK_SIZE=block)),
):
    seen = (blocks_of(f(zeros, zeros, value, block_mask=mask)) for f in (flex_attention, compiled))
    print(f"{name:32}{rows(mask.to_dense()[0, 0])}", *map(rows, seen), sep="  ")
PYTHON

diff - "$work/seen" <<'SEEN'
                                to_dense             eager                compiled
blocks, no mask_mod             ##.. ###. .### ..##  #### #### #### ####  ##.. ###. .### ..##
blocks, all of them full        ##.. ###. .### ..##  #### #### #### ####  ##.. ###. .### ..##
blocks, causal inside           ##.. ###. .### ..##  #... ##.. ###. ####  #... ##.. .##. ..##
blocks, mask_mod repeats them   ##.. ###. .### ..##  ##.. ###. .### ..##  ##.. ###. .### ..##
create_block_mask               ##.. ###. .### ..##  ##.. ###. .### ..##  ##.. ###. .### ..##
SEEN
