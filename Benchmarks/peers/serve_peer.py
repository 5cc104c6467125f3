"""python serve_peer.py NAME CPUS: one registered peer, bound to e.g. CPUs 0,1."""

from __future__ import annotations

import sys

from harness.serve import serve
from registry import PEERS

if __name__ == "__main__":
    name, cpus = sys.argv[1:]
    serve({peer.name: peer for peer in PEERS}[name], [int(cpu) for cpu in cpus.split(",")])
