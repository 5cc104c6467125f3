"""The arrays that everybody is given."""

from __future__ import annotations

import numpy as np

from .bfloat16 import rounded
from .peer import Array
from .problem import Problem


def normal_inputs(problem: Problem, seed: int) -> tuple[Array, Array, Array]:
    """Query, key and value: independent unit normals, as fp32 numbers that the dtype has."""

    def array(role: int, heads: int, rows: int) -> Array:
        shape = (heads, rows, problem.head_dim)
        normal = np.random.default_rng([seed, role]).standard_normal(shape, dtype=np.float32)
        return rounded(normal) if problem.dtype == "bf16" else normal

    return (
        array(0, problem.heads, problem.n),
        array(1, problem.kv_heads, problem.n_kv),
        array(2, problem.kv_heads, problem.n_kv),
    )
