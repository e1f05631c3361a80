"""Every map of the library, on the quantization sets it is defined for, and every method that binarizes."""

from __future__ import annotations

from collections.abc import Callable

import proxconnect as pc
from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    identity,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    polynomial,
    projector,
    reste,
    sign,
    sign_swish,
    soft_threshold,
    tanh,
    w_shaped,
)

SETS = ((-1, 1), (-1, 0, 1), (-2.5, -0.75, 0.25, 3))
SMOOTH = (sign_swish, monotone_sign_swish, tanh, polynomial, reste())
TOWARDS_LEVELS: tuple[Callable[..., ElementwiseMap], ...] = (
    projector,
    linear_quantizer,
    parq,
    binary_relax,
    w_shaped,
)
WITH_WIDTHS = (
    linear_quantizer(rho=0.5, varrho=0.25),
    linear_quantizer(rho=0, varrho=1.5),
    linear_quantizer((-1, 0, 1), varrho=0.5),
    linear_quantizer((-1, 0, 1), rho=0.3, varrho=0.7),
)
ALL_MAPS: tuple[ElementwiseMap, ...] = (
    identity,
    sign,
    hard_tanh,
    soft_threshold,
    *SMOOTH,
    *(make(levels) for make in TOWARDS_LEVELS for levels in SETS[1:]),
    *(make() for make in TOWARDS_LEVELS[1:]),
    *WITH_WIDTHS,
)
RISING_MAPS = [map_ for map_ in ALL_MAPS if map_ is not sign_swish]  # those with a regularizer
METHODS = [name for name in pc.methods() if name != "fp"]
