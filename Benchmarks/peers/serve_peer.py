"""python serve_peer.py NAME PLACES: one registered peer; PLACES as [[0], [1]], CPUs a thread."""

from __future__ import annotations

import json
import sys

from harness.serve import serve
from registry import PEERS

if __name__ == "__main__":
    name, places = sys.argv[1:]
    serve({peer.name: peer for peer in PEERS}[name], json.loads(places))
