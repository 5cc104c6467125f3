"""ONNX Runtime on the CPU: the attention operators of the domain com.microsoft."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from peer import Array, Case, Peer, main


def packed(tensor: Array) -> Array:
    """[h, n, d] as [1, n, h * d]."""
    heads, n, head_dim = tensor.shape
    return np.ascontiguousarray(tensor.transpose(1, 0, 2)).reshape(1, n, heads * head_dim)


def unpacked(tensor: Array, heads: int) -> Array:
    """[1, n, h * d] as [h, n, d]."""
    _, n, width = tensor.shape
    return np.ascontiguousarray(tensor.reshape(n, heads, width // heads).transpose(1, 0, 2))


class BoundModel:
    """One `com.microsoft` operator. Binding spares the allocation and copy of outputs."""

    def __init__(
        self,
        operator: str,
        inputs: dict[str, npt.NDArray | None],
        outputs: dict[str, tuple[int, ...]],
        attributes: dict[str, Any],
        threads: int,
        shared: dict[str, str] | None = None,
    ):
        """`shared`: outputs that are written into the memory of an input.

        An input of None is an optional one that is left out. Outputs have the element type of the
        first input.
        """
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper

        types = {
            "float32": TensorProto.FLOAT,
            "float16": TensorProto.FLOAT16,
            "int32": TensorProto.INT32,
        }
        # A node names an input that is left out by an empty text.
        names = [name if array is not None else "" for name, array in inputs.items()]
        given = {name: array for name, array in inputs.items() if array is not None}
        dtype = next(iter(given.values())).dtype
        graph = helper.make_graph(
            [
                helper.make_node(
                    operator, names, list(outputs), domain="com.microsoft", **attributes
                )
            ],
            operator,
            [
                helper.make_tensor_value_info(name, types[str(array.dtype)], array.shape)
                for name, array in given.items()
            ],
            [
                helper.make_tensor_value_info(name, types[str(dtype)], shape)
                for name, shape in outputs.items()
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=onnx.IR_VERSION_2023_5_5,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # One operator has nothing to be fused with; this keeps it the one that was asked for.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._inputs = {name: value(array) for name, array in given.items()}
        shared = shared or {}
        self._outputs = {
            name: self._inputs[shared[name]] if name in shared else value(np.zeros(shape, dtype))
            for name, shape in outputs.items()
        }
        self._binding = self._session.io_binding()
        for name, bound in self._inputs.items():
            self._binding.bind_ortvalue_input(name, bound)
        for name, bound in self._outputs.items():
            self._binding.bind_ortvalue_output(name, bound)

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self, name: str) -> Array:
        """In fp32."""
        return self._outputs[name].numpy().astype(np.float32)


class OnnxMultiHeadAttention(Peer):
    """Inputs [1, n, h * d], as projections produce them.

    The CPU kernel is for fp32 alone: a model in bf16 is refused (NOT_IMPLEMENTED), and one in fp16
    gets the fp32 kernel between casts, which is no kernel of its own.
    """

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.causal or not case.is_plain_softmax:
            return "full softmax attention only"
        if case.heads != case.kv_heads:
            return "as many key heads as query heads only"
        if case.dtype != "fp32":
            return "the CPU kernel is for fp32 alone"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        self._heads = case.heads
        self._model = BoundModel(
            "MultiHeadAttention",
            {"query": packed(query), "key": packed(key), "value": packed(value)},
            {"output": (1, case.n_q, case.heads * case.head_dim)},
            {"num_heads": case.heads},
            case.threads,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)


class OnnxGroupQueryAttention(Peer):
    """A prompt without a past, or one step after a past of all keys but the last.

    The operator writes key and value into its cache outputs. In a step these are the memory of the
    past itself, as in a decoder that keeps its cache, so that only the new row is written.

    Work in bf16 is done in fp16, the 2-byte type that the CPU kernel has.
    """

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.is_softmax or not (case.causal or case.is_decoding):
            return "causal softmax attention to all keys or a window only"
        if case.is_decoding and (case.n_q > 1 or case.window):
            return "decoding is compared with one query on all keys"
        return None

    @classmethod
    def dtype(cls, case: Case) -> str:
        return "fp16" if case.dtype == "bf16" else case.dtype

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        return case.score_bytes

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        self._heads = case.heads
        dtype = np.float16 if self.dtype(case) == "fp16" else np.float32
        query, key, value = (array.astype(dtype, copy=False) for array in (query, key, value))
        cache = (1, case.kv_heads, case.n_kv, case.head_dim)
        past = [np.zeros((1, case.kv_heads, 0, case.head_dim), dtype)] * 2
        shared = {}
        if case.is_decoding:
            # A cache as long as it will be; its last row is written in the step.
            past = [key[np.newaxis].copy(), value[np.newaxis].copy()]
            shared = {"present_key": "past_key", "present_value": "past_value"}
            key, value = key[:, -1:], value[:, -1:]
        self._model = BoundModel(
            "GroupQueryAttention",
            {
                "query": packed(query),
                "key": packed(key),
                "value": packed(value),
                "past_key": past[0],
                "past_value": past[1],
                "seqlens_k": np.array([case.n_kv - 1], np.int32),
                "total_sequence_length": np.array([case.n_kv], np.int32),
            },
            {
                "output": (1, case.n_q, case.heads * case.head_dim),
                "present_key": cache,
                "present_value": cache,
            },
            {
                "num_heads": case.heads,
                "kv_num_heads": case.kv_heads,
                # As attnbench counts a causal window, with the query's own key; -1 is none.
                "local_window_size": case.window or -1,
                "smooth_softmax": 0,
            },
            case.threads,
            shared,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)


class OnnxSparseAttention(Peer):
    """Inputs [1, n, h * d], blocks by rows (CSR), a cache that key and value are written into.

    The CPU kernel multiplies all queries with all keys, hides what the blocks leave out, and
    multiplies all weights with all values. Past and present have to be the same memory.
    """

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.selection != "given":
            return "blocks of keys that are known beforehand only"
        if not case.causal or case.is_decoding:
            return "compared for causal prompts"
        if case.block not in (16, 32, 64, 128):
            return "blocks of 16, 32, 64 or 128 keys only"
        if case.head_dim != case.value_dim or case.head_dim % 8 != 0:
            return "values as wide as keys, a multiple of 8, only"
        if case.dtype != "fp32":
            return "compared in fp32"
        return None

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        return case.score_bytes

    def __init__(self, case: Case, query: Array, key: Array, value: Array, blocks: Array):
        self._heads = case.heads
        # Blocks after the own one are counted as if they lay before it, so that a row which has as
        # many as there are up to its own would be taken for a full one.
        layout = np.tril(blocks != 0)
        # One layout, which all heads have.
        rows, columns = np.append(0, layout.sum(1).cumsum()), layout.nonzero()[1]
        cache = np.zeros((1, case.kv_heads, case.n_kv, case.head_dim), np.float32)
        length = np.array([case.n_kv], np.int32)
        self._model = BoundModel(
            "SparseAttention",
            {
                "query": packed(query),
                "key": packed(key),
                "value": packed(value),
                "past_key": cache,
                "past_value": cache.copy(),
                "block_row_indices": rows[np.newaxis].astype(np.int32),
                "block_col_indices": columns[np.newaxis].astype(np.int32),
                "total_sequence_length": length,
                "key_total_sequence_lengths": length,
            },
            {
                "output": (1, case.n_q, case.heads * case.head_dim),
                "present_key": cache.shape,
                "present_value": cache.shape,
            },
            {
                "num_heads": case.heads,
                "kv_num_heads": case.kv_heads,
                "sparse_block_size": case.block,
            },
            case.threads,
            {"present_key": "past_key", "present_value": "past_value"},
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)


def token_major(tensor: Array) -> Array:
    """[h, n, ...] as [n, h, ...]."""
    return np.ascontiguousarray(np.moveaxis(tensor, 0, 1))


class OnnxLinearAttention(Peer):
    """Inputs [1, n, h * d], also of decay and beta; the state [1, h, d, dV]."""

    rules = ("gated", "delta", "gated_delta")

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.rule not in cls.rules:
            return f"recurrences by the rules {', '.join(cls.rules)} only"
        return None

    def __init__(
        self, case: Case, query: Array, key: Array, value: Array, state: Array, **gates: Array
    ):
        self._heads = case.heads
        inputs = {"query": packed(query), "key": packed(key), "value": packed(value)}
        inputs["past_state"] = state[np.newaxis]
        for name in ("decay", "beta"):
            gate = token_major(gates[name]).reshape(1, case.n_kv, -1) if name in gates else None
            inputs[name] = gate
        self._model = BoundModel(
            "LinearAttention",
            inputs,
            {
                "output": (1, case.n_q, case.heads * case.value_dim),
                "present_state": (1, case.kv_heads, case.head_dim, case.value_dim),
            },
            {
                "q_num_heads": case.heads,
                "kv_num_heads": case.kv_heads,
                "update_rule": case.rule,
            },
            case.threads,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)


class OnnxGatedDeltaNet(Peer):
    """Inputs [n, h, d]; the state [1, h, dV, d], the other way round than that of LinearAttention.

    Its kernel takes as many query as key heads. Keys of the delta rules should have length 1; these
    have not, but a beta that is small enough for the recurrence to be stable.
    """

    rules = OnnxLinearAttention.rules

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.heads != case.kv_heads:
            return "as many key heads as query heads only"
        return OnnxLinearAttention.refusal(case)

    def __init__(
        self, case: Case, query: Array, key: Array, value: Array, state: Array, **gates: Array
    ):
        inputs = {name: token_major(x) for name, x in zip("qkv", (query, key, value), strict=True)}
        # There is one sequence: nothing to be cut.
        inputs["no_cuts"] = None
        for name in ("decay", "beta"):
            inputs[name] = token_major(gates[name]) if name in gates else None
        inputs["initial_state"] = np.ascontiguousarray(state.swapaxes(1, 2))[np.newaxis]
        self._model = BoundModel(
            "GatedDeltaNet",
            inputs,
            {
                "output": (case.n_q, case.heads, case.value_dim),
                "final_state": (1, case.kv_heads, case.value_dim, case.head_dim),
            },
            {"update_rule": case.rule},
            case.threads,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return token_major(self._model.output("output"))


main(
    "onnxruntime",
    {
        "mha": OnnxMultiHeadAttention,
        "gqa": OnnxGroupQueryAttention,
        "sparse": OnnxSparseAttention,
        "linear_attention": OnnxLinearAttention,
        "gated_delta_net": OnnxGatedDeltaNet,
    },
)
