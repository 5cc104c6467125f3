"""Fast attention on the CPU, for NumPy arrays and PyTorch tensors.

``attention`` computes it in one call, ``Plan`` makes ready once and runs often, ``Decoder`` takes in
tokens as they come. ``attnbench.torch`` has PyTorch's ``scaled_dot_product_attention``,
``attnbench.transformers`` puts strategies into a transformers model.
"""

from ._attention import attention
from ._decoder import Decoder
from ._library import AttentionError
from ._library import version as __version__
from ._plan import Plan
from ._strategies import Strategy, strategies

__all__ = [
    "AttentionError", "Decoder", "Plan", "Strategy", "__version__", "attention", "strategies",
]
