"""The references of fla-core 0.6.0 (`fla/ops/*/naive.py`), in our conventions.

They are loaded by path: importing `fla.ops` needs Triton. They are not of one mind: tensors are
[b, n, h, d] except for retention and the delta rule, which have heads first; the recurrent form of
the gated delta rule takes (beta, g) where its chunk form takes (g, beta), so that both are given by
name; the scale can be given to some and is 1/sqrt(d) in the others.
"""

import importlib.util
import pathlib
from collections.abc import Callable

import numpy as np
from numpy_reference import Recurrence, unit_length

# Chunk forms that do not pad take whole chunks only.
KDA_CHUNK, DELTA_CHUNK = 64, 32


def naive(operator: str):
    """The module fla/ops/<operator>/naive.py of the installed package."""
    package = importlib.util.find_spec("fla")
    path = pathlib.Path(package.submodule_search_locations[0]) / "ops" / operator / "naive.py"
    spec = importlib.util.spec_from_file_location(f"fla_naive_{operator}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def references(problem: Recurrence) -> dict[str, tuple[bool, Callable]]:
    """The functions that compute a problem: by name, whether it goes token by token and so is exact
    where a decay forgets at once, and a call that returns output and state, None for a state that it
    does not return."""
    import torch

    p = problem
    if p.normalised or not p.causal or p.q.shape[2] != p.k.shape[2]:
        return {}
    h = p.q.shape[1]
    group = h // p.k.shape[1]
    n, d = p.q.shape[2:]

    def tensor(array: np.ndarray) -> torch.Tensor:
        """fp32, a copy of a key/value head for each of its query heads."""
        array = np.repeat(array.astype(np.float32), h // array.shape[1], axis=1)
        return torch.from_numpy(np.ascontiguousarray(array))

    def tokens(array: np.ndarray) -> torch.Tensor:
        return tensor(array).transpose(1, 2).contiguous()

    q, k = p.q.astype(np.float64), p.k.astype(np.float64)
    if p.unit_length:
        q, k = unit_length(q), unit_length(k)
    state = None if p.state is None else tensor(p.state)
    # Outputs are linear in the queries: a scale that cannot be given is a factor on them.
    rescaled = q * (p.scale * np.sqrt(d))
    forms: dict[str, tuple[bool, Callable]] = {}

    def form(name: str, is_stepwise: bool, call: Callable, heads_first: bool = False) -> None:
        def run():
            output, last = call()
            output = output.detach() if heads_first else output.detach().transpose(1, 2)
            output = output.numpy().astype(np.float64)
            if p.addition is not None:
                output = output + np.repeat(p.addition.astype(np.float64), group, axis=1)
            # All heads of a group keep the same state.
            return output, None if last is None else last.numpy()[:, ::group]

        forms[f"fla {name}"] = (is_stepwise, run)

    kept = {"initial_state": state, "output_final_state": True}
    values = {"q": tokens(q), "k": tokens(k), "v": tokens(p.v)}
    per_channel = p.decay is not None and p.decay.ndim == 4
    if p.beta is None and p.decay is None:
        module = naive("linear_attn")
        form("naive_recurrent_linear_attn", True, lambda: module.naive_recurrent_linear_attn(
            **values, scale=p.scale, **kept))
        if n % 64 == 0 and state is None:
            form("naive_chunk_linear_attn", False, lambda: (
                module.naive_chunk_linear_attn(**values, scale=p.scale), None))
    elif p.beta is None and per_channel:
        form("naive_recurrent_gla", True, lambda: naive("gla").naive_recurrent_gla(
            **values | {"q": tokens(rescaled)}, gk=tokens(p.decay), **kept))
    elif p.beta is None:
        module = naive("simple_gla")
        gates = values | {"g": tokens(p.decay), "scale": p.scale}
        form("naive_recurrent_simple_gla", True, lambda: module.naive_recurrent_simple_gla(
            **gates, **kept))
        form("naive_chunk_simple_gla", False, lambda: module.naive_chunk_simple_gla(**gates, **kept))
        if state is None:
            form("naive_parallel_simple_gla", False, lambda: (
                module.naive_parallel_simple_gla(**gates)[0], None))
        rates = np.log1p(-(2.0 ** (-5.0 - np.arange(h))))
        if group == 1 and state is None and np.all(p.decay == rates.astype(np.float32)[None, :, None]):
            form("naive_retention", False, lambda: (
                naive("retention").naive_retention(tensor(rescaled), tensor(k), tensor(p.v)), None),
                heads_first=True)
    elif p.decay is None:
        module = naive("delta_rule")
        operands = [tensor(rescaled), tensor(k), tensor(p.v), tensor(p.beta)]
        form("delta_rule_recurrence", True, lambda: module.delta_rule_recurrence(*operands, state),
             heads_first=True)
        if n % DELTA_CHUNK == 0 and state is None:
            form("delta_rule_chunkwise", False, lambda: module.delta_rule_chunkwise(
                *operands, chunk_size=DELTA_CHUNK), heads_first=True)
    elif per_channel:
        module = naive("kda")
        gates = values | {"g": tokens(p.decay), "beta": tokens(p.beta), "scale": p.scale}
        form("naive_recurrent_kda", True, lambda: module.naive_recurrent_kda(**gates, **kept))
        if n % KDA_CHUNK == 0:
            form("naive_chunk_kda", False, lambda: module.naive_chunk_kda(**gates, **kept))
    else:
        module = naive("gated_delta_rule")
        gates = values | {"g": tokens(p.decay), "beta": tokens(p.beta), "scale": p.scale}
        form("naive_recurrent_gated_delta_rule", True, lambda: (
            module.naive_recurrent_gated_delta_rule(**gates, **kept)))
        form("naive_chunk_gated_delta_rule", False, lambda: (
            module.naive_chunk_gated_delta_rule(**gates, **kept)))
    return forms
