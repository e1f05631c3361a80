"""The mathematics: elementwise maps, forward-backward pairs and the catalogue of methods."""

from __future__ import annotations

from proxconnect.quantizers._structure import Piece, SignPiece, Trend
from proxconnect.quantizers.catalogue import CATALOGUE, Entry, method, methods, pair_of
from proxconnect.quantizers.maps import (
    Elementwise,
    ElementwiseMap,
    Sharpness,
    Slope,
    hard_tanh,
    identity,
    sign,
    slope_of,
)
from proxconnect.quantizers.own import own_pair
from proxconnect.quantizers.pair import ForwardBackward
from proxconnect.quantizers.proximal import binary_relax, projector, soft_threshold, w_shaped
from proxconnect.quantizers.ramps import linear_quantizer, parq
from proxconnect.quantizers.reste import reste
from proxconnect.quantizers.smooth import polynomial, tanh
from proxconnect.quantizers.swish import monotone_sign_swish, sign_swish

__all__ = [
    "CATALOGUE",
    "Elementwise",
    "ElementwiseMap",
    "Entry",
    "ForwardBackward",
    "Piece",
    "Sharpness",
    "SignPiece",
    "Slope",
    "Trend",
    "binary_relax",
    "hard_tanh",
    "identity",
    "linear_quantizer",
    "method",
    "methods",
    "monotone_sign_swish",
    "own_pair",
    "pair_of",
    "parq",
    "polynomial",
    "projector",
    "reste",
    "sign",
    "sign_swish",
    "slope_of",
    "soft_threshold",
    "tanh",
    "w_shaped",
]
