"""The named levels of precision, and what this processor gains by them."""

from __future__ import annotations

from functools import cache

import torch

from proxconnect.errors import ProxConnectError, unknown_name

EXACT = "exact"
# The activations of layers with binary weights and float inputs, at each level.
PRECISIONS = {EXACT: None, "fast": "int8", "fastest": "int6"}
# By these names, PyTorch's own and in older releases its functions, processors multiply bfloat16.
_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
_BFLOAT16_FUNCTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def check_precision(precision: str, kernels: str = "fast") -> None:
    """Raise :class:`ProxConnectError` unless ``precision`` is known, and computed by ``kernels``."""
    if precision not in PRECISIONS:
        raise ProxConnectError(unknown_name("precision", precision, PRECISIONS))
    if precision != EXACT and kernels == "reference":
        raise ProxConnectError(f"precision={precision!r} is computed by kernels='fast', not by 'reference'")


@cache
def multiplies_bfloat16() -> bool:
    """Tell whether this processor has instructions that multiply bfloat16; without them it is no gain."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    tried = (getattr(torch.cpu, name, bool)() for name in _BFLOAT16_FUNCTIONS)
    has = any(known.get(name) for name in _BFLOAT16) or any(tried)
    return has and torch.backends.mkldnn.is_available()
