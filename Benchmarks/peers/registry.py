"""Who is compared. A new peer is a file with a subclass of Peer and a line here."""

from __future__ import annotations

from harness.peer import Peer
from onnxruntime_gqa import OnnxGroupQueryAttention
from onnxruntime_mha import OnnxMultiHeadAttention
from openvino_sdpa import OpenVinoSDPA
from torch_flex import TorchFlex
from torch_linear import TorchLinear
from torch_sdpa import TorchFlash, TorchMath

PEERS: tuple[type[Peer], ...] = (
    OnnxMultiHeadAttention,
    OnnxGroupQueryAttention,
    OpenVinoSDPA,
    TorchFlash,
    TorchMath,
    TorchFlex,
    TorchLinear,
)
