"""The functions of transformers 5.24.0 that its models fall back to on a CPU, in our conventions.

Tensors are [b, n, h, d]; the scale is 1/sqrt(d), none in Mamba-2; the state of Mamba-2 is [b, h, dV, d],
the others' is ours. Value heads may be more than query and key heads, which are then repeated, each
behind itself; with fewer key/value than query heads, ours, all are given as often as there are queries.
"""

import inspect
from collections.abc import Callable

import numpy as np
from numpy_reference import Recurrence


def references(
    problem: Recurrence, steps: np.ndarray | None = None, rates: np.ndarray | None = None,
    skip: np.ndarray | None = None,
) -> dict[str, tuple[bool, Callable]]:
    """The functions that compute a problem, as `fla_reference.references` has them.

    The problem of a state-space recurrence has v = dt x, decay = A dt and addition = D x; `steps` is its
    dt [b, hKV, n], `rates` its A [hKV] and `skip` its D [hKV], or None.
    """
    p = problem
    if p.normalised or not p.causal or p.q.shape[2] != p.k.shape[2]:
        return {}
    if steps is not None:
        return state_space(p, steps, rates, skip)
    return {} if p.beta is None else delta(p)


def delta(p: Recurrence) -> dict[str, tuple[bool, Callable]]:
    from transformers.models.kimi_linear import modeling_kimi_linear as kimi
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen

    h, d = p.q.shape[1], p.q.shape[-1]
    group = h // p.k.shape[1]
    decay = np.zeros(p.beta.shape) if p.decay is None else p.decay
    is_per_channel = decay.ndim == 4
    functions = (
        [(True, kimi.recurrent_kimi_delta_attention), (False, kimi.chunk_kimi_delta_attention)]
        if is_per_channel
        else [
            (True, qwen.torch_recurrent_gated_delta_rule),
            (False, qwen.torch_chunk_gated_delta_rule),
        ]
    )
    query, key = tokens(p.q, h), tokens(p.k, h)
    if not is_per_channel:
        # Heads that the problem has several times in a row are given once, and repeated in there.
        shared = repeats(p.q, p.k)
        query, key = query[:, :, ::shared].contiguous(), key[:, :, ::shared].contiguous()
    arguments = {
        "query": query, "key": key, "value": tokens(p.v, h), "g": tokens(decay, h),
        "beta": tokens(p.beta, h), "initial_state": None if p.state is None else tensor(p.state, h),
        "output_final_state": True, "use_qk_l2norm_in_kernel": p.unit_length,
    }  # fmt: skip

    def run(function: Callable) -> Callable:
        def call():
            output, state = inspect.unwrap(function)(**arguments)
            # Outputs are linear in the queries, which may be brought to length 1 in there.
            factor = p.scale * np.sqrt(d)
            return factor * output.transpose(1, 2).double().numpy(), state.numpy()[:, ::group]

        return call

    return {
        f"transformers {function.__name__}": (is_stepwise, run(function))
        for is_stepwise, function in functions
    }


def state_space(
    p: Recurrence, steps: np.ndarray, rates: np.ndarray, skip: np.ndarray | None
) -> dict[str, tuple[bool, Callable]]:
    import torch
    from transformers.models.mamba2 import modeling_mamba2 as mamba2

    b, h, n, d = p.q.shape
    h_kv, d_v = p.v.shape[1], p.v.shape[-1]
    group = h // h_kv
    x = p.v.astype(np.float64) / steps[..., None]
    values = tokens(x, h)
    dt = tokens(steps, h)
    shared = repeats(p.q, p.k)
    keys = tokens(p.k, h)[:, :, ::shared].contiguous()
    queries = tokens(p.q.astype(np.float64) * p.scale, h)[:, :, ::shared].contiguous()
    a = torch.from_numpy(np.repeat(rates, group).astype(np.float32))
    own = None if skip is None else torch.from_numpy(np.repeat(skip, group).astype(np.float32))
    past = np.zeros((b, h_kv, d, d_v)) if p.state is None else p.state
    past = tensor(past.swapaxes(-1, -2), h)

    def scan(chunk: int) -> Callable:
        def call():
            output, state = inspect.unwrap(mamba2.mamba2_chunk_scan)(
                values, dt, a, keys, queries, chunk, D=own, initial_states=past,
                return_final_states=True,
            )  # fmt: skip
            return output.transpose(1, 2).double().numpy(), state.numpy().swapaxes(-1, -2)[:, ::group]

        return call

    def step():
        state = past.clone()
        update = inspect.unwrap(mamba2.mamba2_selective_state_update)
        rate = a[:, None, None].expand(h, d_v, d)
        each = None if own is None else own[:, None].expand(h, d_v)
        rows = [
            update(
                state, values[:, t], dt[:, t, :, None].expand(b, h, d_v), rate, keys[:, t],
                queries[:, t], D=each,
            )
            for t in range(n)
        ]  # fmt: skip
        output = torch.stack(rows, 1).transpose(1, 2).double().numpy()
        return output, state.numpy().swapaxes(-1, -2)[:, ::group]

    return {
        "transformers mamba2_selective_state_update": (True, step),
        "transformers mamba2_chunk_scan, chunks of 8": (False, scan(8)),
        "transformers mamba2_chunk_scan, chunks of 256": (False, scan(256)),
    }


def repeats(*arrays: np.ndarray) -> int:
    """How many heads in a row are the same in all arrays, at most."""
    heads = min(array.shape[1] for array in arrays)
    for count in range(heads, 1, -1):
        if all(
            array.shape[1] == heads
            and heads % count == 0
            and np.array_equal(array, np.repeat(array[:, ::count], count, axis=1))
            for array in arrays
        ):
            return count
    return 1


def tensor(array: np.ndarray, heads: int):
    """fp32, a copy of a key/value head for each of its query heads."""
    import torch

    array = np.repeat(array.astype(np.float32), heads // array.shape[1], axis=1)
    return torch.from_numpy(np.ascontiguousarray(array))


def tokens(array: np.ndarray, heads: int):
    """[b, h, n, ...] as [b, n, h, ...]."""
    return tensor(array, heads).transpose(1, 2).contiguous()
