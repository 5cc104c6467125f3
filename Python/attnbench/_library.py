"""The C library: its structures, as attnbench.h declares them, and what it raises."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path

ABI_VERSION = 1


class AttentionError(ValueError):
    """What the library, or this package, does not serve.

    The text names the argument, its value, the rule and the fix. ``status`` is the number that the
    C interface gives the kind of error; 1, an invalid argument, where this package found it.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Tensor(Structure):
    """attnbench_tensor."""

    _fields_ = [
        ("data", c_void_p), ("type", c_uint32), ("reserved", c_uint32),
        ("shape", c_int64 * 4), ("strides", c_int64 * 4), ("channel_scales", POINTER(c_float)),
    ]


class Problem(Structure):
    """attnbench_problem."""

    _fields_ = [
        ("size", c_uint32), ("causal", c_uint32),
        ("batch", c_int64), ("heads", c_int64), ("kv_heads", c_int64), ("query_length", c_int64),
        ("key_length", c_int64), ("head_dim", c_int64), ("value_dim", c_int64),
        ("query_type", c_uint32), ("key_value_type", c_uint32), ("output_type", c_uint32),
        ("alignment", c_uint32), ("offset", c_int64), ("offsets", POINTER(c_int64)),
        ("has_scale", c_uint32), ("scale", c_float), ("softcap", c_float), ("reserved", c_uint32),
        ("sink_logits", POINTER(c_float)), ("alibi_slopes", POINTER(c_float)),
        ("query_lengths", POINTER(c_int64)), ("key_lengths", POINTER(c_int64)),
        ("prefix_lengths", POINTER(c_int64)), ("mask", Tensor), ("bias", Tensor),
        ("has_window_left", c_uint32), ("has_window_right", c_uint32), ("window_left", c_int64),
        ("window_right", c_int64), ("chunk", c_int64),
    ]


class NamedTensor(Structure):
    """attnbench_named_tensor."""

    _fields_ = [("name", c_char_p), ("tensor", Tensor)]


class Operands(Structure):
    """attnbench_operands."""

    _fields_ = [
        ("size", c_uint32), ("named_count", c_uint32), ("query", Tensor), ("key", Tensor),
        ("value", Tensor), ("output", Tensor), ("lse", Tensor), ("named", POINTER(NamedTensor)),
        ("key_lengths", POINTER(c_int64)), ("final_state", Tensor),
    ]


class TeamOptions(Structure):
    """attnbench_team_options."""

    _fields_ = [
        ("size", c_uint32), ("best_effort", c_uint32), ("threads", c_int64), ("binding", c_char_p),
    ]


class CacheOptions(Structure):
    """attnbench_cache_options."""

    _fields_ = [
        ("size", c_uint32), ("rolling", c_uint32), ("sinks", c_int64), ("window", c_int64),
    ]


class Info(Structure):
    """attnbench_info."""

    _fields_ = [
        ("size", c_uint32), ("operator_class", c_uint32), ("takes_key_lengths", c_uint32),
        ("threads", c_uint32), ("pairs", c_int64), ("flops", c_int64), ("minimum_bytes", c_int64),
        ("workspace_bytes", c_int64), ("cache_bytes", c_int64),
    ]


def sized(structure: type[Structure]) -> Structure:
    """A structure of zeros that says its size."""
    return structure(size=ctypes.sizeof(structure))


def _load() -> ctypes.CDLL:
    path = Path(__file__).parent / "lib" / "libattnbench.so"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(
            f"attnbench: {path} cannot be loaded: {error}; install a wheel made for this machine"
        ) from error
    handle, out = c_void_p, POINTER(c_void_p)
    for name, arguments, result in [
        ("abi_version", [], c_uint32),
        ("version", [], c_char_p),
        ("last_error", [], c_char_p),
        ("strategies", [], c_char_p),
        ("team_create", [POINTER(TeamOptions), out], c_int32),
        ("team_destroy", [handle], None),
        ("plan_create", [POINTER(Problem), c_char_p, handle, out], c_int32),
        ("plan_run", [handle, POINTER(Operands)], c_int32),
        ("plan_info", [handle, POINTER(Info)], c_int32),
        ("plan_spec", [handle, c_char_p, c_size_t], c_int32),
        ("plan_destroy", [handle], None),
        ("decoder_create",
         [POINTER(Problem), c_char_p, POINTER(CacheOptions), handle, out], c_int32),
        ("decoder_step", [handle, POINTER(Operands), POINTER(c_int64)], c_int32),
        ("decoder_tokens", [handle, POINTER(c_int64), c_size_t], c_int32),
        ("decoder_truncate", [handle, c_int64, c_int64], c_int32),
        ("decoder_mark", [handle], c_int32),
        ("decoder_rewind", [handle], c_int32),
        ("decoder_info", [handle, POINTER(Info)], c_int32),
        ("decoder_destroy", [handle], None),
    ]:
        function = getattr(library, f"attnbench_{name}")
        function.argtypes, function.restype = arguments, result
    found = library.attnbench_abi_version()
    if found != ABI_VERSION:
        raise ImportError(
            f"attnbench: {path} has interface {found}, this package knows {ABI_VERSION}; "
            "reinstall the wheel"
        )
    return library


library = _load()
version: str = library.attnbench_version().decode()


def check(status: int) -> None:
    """Raises what the library's last call on this thread says went wrong."""
    if status:
        raise AttentionError(library.attnbench_last_error().decode(errors="replace"), status)


class Handle:
    """Something that the library made; forgotten with the object."""

    __slots__ = ("value", "_destroy")

    def __init__(self, create, destroy, *arguments) -> None:
        self._destroy = None
        self.value = c_void_p()
        check(create(*arguments, ctypes.byref(self.value)))
        self._destroy = destroy

    def __del__(self) -> None:
        if self._destroy is not None:
            self._destroy(self.value)
