#!/usr/bin/env bash
# safetensors.numpy writes a transposed array in the order of its memory, under the transposed shape.
#
# Guess:    a view is written as the array it stands for, or refused.
# Happens:  save and save_file take the memory from its first byte on and ignore the strides. What is
#           loaded has the right shape, type and byte count and other numbers: keys stored as
#           k.transpose(0, 2, 1) come back scrambled, with no error on either side.
# Instead:  np.ascontiguousarray around everything that is saved.
# Seen in:  safetensors 0.8.0; 0.7.0 wrote the array itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cat > "$work/save.py" <<'PYTHON'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

array = np.arange(6, dtype=np.float32).reshape(2, 3)
print("safetensors", safetensors.__version__)
for name, view in {
    "transposed": array.T,
    "Fortran order": np.asfortranarray(array),
    "contiguous copy": np.ascontiguousarray(array.T),
}.items():
    save_file({"x": view}, sys.argv[1])
    loaded = load_file(sys.argv[1])["x"]
    print(f"{name}: {view.tolist()} -> {loaded.tolist()}", np.array_equal(view, loaded))
PYTHON

for version in 0.7.0 0.8.0; do
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "safetensors==$version"
  "$work/venv/bin/python" "$work/save.py" "$work/file.safetensors" | tee -a "$work/seen"
done

diff - "$work/seen" <<'SEEN'
safetensors 0.7.0
transposed: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] -> [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] True
Fortran order: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] -> [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] True
contiguous copy: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] -> [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] True
safetensors 0.8.0
transposed: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] -> [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] False
Fortran order: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] -> [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]] False
contiguous copy: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] -> [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] True
SEEN
