"""The mathematics: elementwise maps, forward-backward pairs and the catalogue of methods."""

from __future__ import annotations

from proxconnect.quantizers.catalogue import method, methods
from proxconnect.quantizers.maps import ElementwiseMap, hard_tanh, identity, sign, sign_swish
from proxconnect.quantizers.pair import ForwardBackward

__all__ = [
    "ElementwiseMap",
    "ForwardBackward",
    "hard_tanh",
    "identity",
    "method",
    "methods",
    "sign",
    "sign_swish",
]
