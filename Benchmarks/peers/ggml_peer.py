"""ggml on the CPU: ggml_gated_delta_net, through ggml-python."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from peer import Array, Case, Peer, main


class GgmlGatedDeltaNet(Peer):
    """Tensors [n, h, d] in the order of memory; the state [h, dV, d], the other way round.

    With fewer key heads than value heads it takes key head i for the value heads i, i + hK,
    i + 2 hK, ..., as a tiled copy would.
    """

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.rule != "gated_delta":
            return "the rule gated_delta only"
        if case.heads != case.kv_heads:
            return "pairs heads otherwise where there are fewer key heads"
        if case.head_dim != case.value_dim:
            return "values as wide as keys only"
        return None

    def __init__(
        self, case: Case, query: Array, key: Array, value: Array, state: Array, decay: Array,
        beta: Array,
    ):  # fmt: skip
        import ggml

        self._ggml = ggml
        n, heads, d = case.n_kv, case.kv_heads, case.head_dim
        if decay.ndim == 2:
            decay = decay[..., np.newaxis]
        arrays = [np.moveaxis(x, 0, 1) for x in (query, key, value, decay, beta[..., np.newaxis])]
        arrays.append(state.swapaxes(1, 2))
        numbers = sum(array.size for array in arrays) + (n + d) * heads * d
        size = 4 * numbers + (1 << 20)
        self._context = ggml.ggml_init(ggml.ggml_init_params(mem_size=size, mem_buffer=None))
        if self._context is None:
            raise MemoryError(f"ggml_init({size})")
        inputs = [self._tensor(array) for array in arrays]
        self._result = ggml.ggml_gated_delta_net(self._context, *inputs, 1)
        self._graph = ggml.ggml_new_graph(self._context)
        ggml.ggml_build_forward_expand(self._graph, self._result)
        plan = ggml.ggml_graph_plan(self._graph, case.threads, None)
        self._work = np.zeros(max(plan.work_size, 1), np.uint8)
        plan.work_data = self._work.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        self._plan = plan
        self._shape = (n, heads, d)

    def _tensor(self, array: Array) -> Any:
        ggml = self._ggml
        tensor = ggml.ggml_new_tensor_4d(
            self._context, ggml.GGML_TYPE_F32, array.shape[2], array.shape[1], array.shape[0], 1
        )
        self._elements(tensor, array.size)[:] = array.ravel()
        return tensor

    def _elements(self, tensor: Any, count: int) -> Array:
        address = self._ggml.ggml_get_data(tensor)
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))

    def run(self) -> None:
        self._ggml.ggml_graph_compute(self._graph, ctypes.byref(self._plan))

    def output(self) -> Array:
        # The new state lies behind it.
        n, heads, d = self._shape
        found = self._elements(self._result, n * heads * d).reshape(self._shape)
        return np.ascontiguousarray(np.moveaxis(found, 0, 1))


main("ggml-python", {"gated_delta_net": GgmlGatedDeltaNet})
