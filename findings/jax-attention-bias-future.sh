#!/usr/bin/env bash
# jax.nn.dot_product_attention, is_causal with a bias of -inf: rows that are left without a key look into the
# future.
#
# Guess:    a key is seen where neither the bias nor causality hides it. Both hide for good: -inf or
#           finfo.min in a bias, the usual ways to hide padding, are no more visible than a later key. A row
#           without a key gives 0, NaN or, at worst, the mean of all values.
# Happens:  is_causal, a mask and a window set scores to 0.7 finfo.min, a finite number *above* those two.
#           Where the bias hides every key that they leave, those they hide are the greatest scores of the
#           row, and all weight goes there: to keys after the row, to keys outside the window, to another
#           document. Padding on the left with a causal triangle has such rows, and so has a window on a
#           text with a gap. No NaN gives them away, and a test by changing a later token would.
#           A bias of -1e30 is above 0.7 finfo.min and hides as meant.
# Instead:  one mask for everything that hides, mask=..., and the bias for finite terms; rows without a key
#           are then the mean of all values, to be set to 0 afterwards.
# Seen in:  jax 0.10.2 on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import jax.numpy as jnp
import numpy as np
from jax.nn import dot_product_attention

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights.
n = 6
zeros = jnp.zeros((1, n, 1, n))
values = jnp.eye(n).reshape(1, n, 1, n)


def show(name, hidden, low, **options):
    """Keys that the bias hides, and how low it makes them."""
    bias = jnp.zeros((1, 1, n, n)).at[..., hidden].set(low)
    output = np.asarray(dot_product_attention(zeros, zeros, values, bias=bias, **options))[0, :, 0]
    print(f"{name:28}", " ".join("".join("." if w == 0 else "#" for w in row) for row in output))


for name, low in (("-inf", -jnp.inf), ("finfo.min", jnp.finfo(jnp.float32).min), ("-1e30", -1e30)):
    show(f"causal, keys 0, 1 {name}", jnp.array([0, 1]), low, is_causal=True)
for name, low in (("-inf", -jnp.inf), ("-1e30", -1e30)):
    show(f"window 1, keys 2, 3, 4 {name}", jnp.array([2, 3, 4]), low, local_window_size=(1, 0))
mask = jnp.tril(jnp.ones((n, n), bool)) & (jnp.arange(n) >= 2)
show("one mask, bias of 0", jnp.array([], int), 0.0, mask=mask[None, None])
PYTHON

diff - "$work/seen" <<'SEEN'
causal, keys 0, 1 -inf       .##### ..#### ..#... ..##.. ..###. ..####
causal, keys 0, 1 finfo.min  .##### ..#### ..#... ..##.. ..###. ..####
causal, keys 0, 1 -1e30      #..... ##.... ..#... ..##.. ..###. ..####
window 1, keys 2, 3, 4 -inf  #..... ##.... .#.... ##..## ###..# .....#
window 1, keys 2, 3, 4 -1e30 #..... ##.... .#.... ..##.. ...##. .....#
one mask, bias of 0          ###### ###### ..#... ..##.. ..###. ..####
SEEN
