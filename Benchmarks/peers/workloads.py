"""The work that is compared: batch 1, inputs independent unit normals, in fp32 unless it says bf16.

`decode` is a step of decoding: one query reads n keys.
"""

from __future__ import annotations

from harness.problem import Problem

WORKLOADS: dict[str, Problem] = {
    "short-n128-d64": Problem(128, 64),
    "full-n1024-d64": Problem(1024, 64),
    "full-n1024-d128": Problem(1024, 128),
    "full-n4096-d64": Problem(4096, 64),
    "full-n4096-d128": Problem(4096, 128),
    "full-n16384-d64": Problem(16384, 64),
    "full-n16384-d128": Problem(16384, 128),
    "causal-n1024-d64": Problem(1024, 64, causal=True),
    "causal-n1024-d128": Problem(1024, 128, causal=True),
    "causal-n4096-d64": Problem(4096, 64, causal=True),
    "causal-n4096-d128": Problem(4096, 128, causal=True),
    "causal-n16384-d64": Problem(16384, 64, causal=True),
    "gqa-causal-n4096-d64": Problem(4096, 64, kv_heads=2, causal=True),
    "gqa-causal-n4096-d128": Problem(4096, 128, kv_heads=2, causal=True),
    "window512-n16384-d64": Problem(16384, 64, causal=True, window=512),
    "decode-n8192-d128": Problem(1, 128, heads=32, kv_heads=32, keys=8192),
    "decode-n32768-d128": Problem(1, 128, heads=32, kv_heads=32, keys=32768),
    "decode-gqa-n8192-d128": Problem(1, 128, heads=32, kv_heads=8, keys=8192),
    "full-bf16-n4096-d64": Problem(4096, 64, dtype="bf16"),
    "full-bf16-n4096-d128": Problem(4096, 128, dtype="bf16"),
    "decode-bf16-n8192-d128": Problem(1, 128, heads=32, kv_heads=32, keys=8192, dtype="bf16"),
    "decode-bf16-n32768-d128": Problem(1, 128, heads=32, kv_heads=32, keys=32768, dtype="bf16"),
    "decode-gqa-bf16-n8192-d128": Problem(1, 128, heads=32, kv_heads=8, keys=8192, dtype="bf16"),
    "decode-gqa-bf16-n32768-d128": Problem(1, 128, heads=32, kv_heads=8, keys=32768, dtype="bf16"),
    "linear-n16384-d64": Problem(16384, 64, linear=True),
    "linear-causal-n16384-d64": Problem(16384, 64, causal=True, linear=True),
}

#: The same kinds of work at sizes that take a minute together.
QUICK: dict[str, Problem] = {
    "short-n128-d64": Problem(128, 64),
    "full-n1000-d64": Problem(1000, 64),
    "full-n2000-d64": Problem(2000, 64),
    "causal-n1000-d64": Problem(1000, 64, causal=True),
    "gqa-causal-n1000-d64": Problem(1000, 64, kv_heads=2, causal=True),
    "window512-n2000-d64": Problem(2000, 64, causal=True, window=512),
    "decode-n2000-d64": Problem(1, 64, keys=2000),
    "decode-gqa-n2000-d64": Problem(1, 64, kv_heads=2, keys=2000),
    "full-bf16-n2000-d64": Problem(2000, 64, dtype="bf16"),
    "decode-bf16-n2000-d64": Problem(1, 64, keys=2000, dtype="bf16"),
    "decode-gqa-bf16-n2000-d64": Problem(1, 64, kv_heads=2, keys=2000, dtype="bf16"),
    "linear-n2000-d64": Problem(2000, 64, linear=True),
    "linear-causal-n2000-d64": Problem(2000, 64, causal=True, linear=True),
}
