"""Repair a pair that is not exact: keep ``B`` and integrate it."""

from __future__ import annotations

import itertools
import math

import torch

from proxconnect.quantizers import ForwardBackward, method, methods, pair_of
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Slope
from proxconnect.theory._arguments import positive
from proxconnect.theory.criterion.check import check
from proxconnect.theory.synthesis._integral import Integral


def repair(pair: ForwardBackward | str, mu: float = 1.0) -> ForwardBackward:
    """Return a pair with the same backward quantizer and a forward quantizer that fits it.

    An exact pair is returned unchanged. For any other pair the new forward quantizer is ``int_0^w B``. It is
    the map itself where ``B`` is declared as the slope of a map, and a quadrature elsewhere. Where both the
    integral and the pair's own forward quantizer are bounded, a constant is added that gives both the same
    middle: a quantizer whose threshold is not 0 stays centred on its levels. The repaired pair decomposes
    with ``P = id``, and it is exact wherever ``B`` is not negative. A second repair changes nothing.

    In training, on float32 and narrower types, the integral is read from a table. Where ``B`` depends on
    ``mu`` through ``mu w`` alone, one table serves every ``mu``; elsewhere each ``mu`` needs its own.

    Args:
        pair: any pair, or the name of a method. Its forward quantizer decides only whether to repair, and the
            middle.
        mu: the sharpness at which the pair is checked. The repaired pair works at every sharpness.

    Raises:
        ProxConnectError: ``check`` refuses the pair, or ``B`` cannot be integrated.

    >>> import proxconnect as pc
    >>> pc.repair("bnn+") == pc.method("bnn++")
    True
    >>> pc.repair("bnn").name
    'hardtanh'
    """
    mu, pair = positive("mu", mu), pair_of(pair, "pair")
    if check(pair, mu).exact:
        return pair
    forward = _integral_of(pair, mu)
    if isinstance(pair.forward, Integral) and pair.forward.backward == pair.backward:
        return pair
    if pair.forward == forward:
        return pair
    if isinstance(forward, Integral):
        # One evaluation now: a slope that cannot be integrated is refused here rather than in training.
        forward(torch.zeros(1, dtype=torch.float64, device="cpu"), mu)
    return _known(forward, pair.backward) or ForwardBackward(forward, pair.backward, f"{pair.name}, repaired")


def _integral_of(pair: ForwardBackward, mu: float) -> Elementwise:
    """Find the map whose slope ``B`` is, if the map is its slope's integral from 0; else use quadrature."""
    if isinstance(pair.backward, Slope) and _integrates_its_slope(pair.backward.map, mu):
        return pair.backward.map
    return Integral(pair.backward, pair.forward)


def _integrates_its_slope(candidate: ElementwiseMap, mu: float) -> bool:
    """Decide from declared pieces that a map is continuous and 0 at 0."""
    if candidate.pieces is None:
        return False
    continuous = all(
        math.isclose(left.end_value, right.start_value, rel_tol=1e-9, abs_tol=1e-12)
        for left, right in itertools.pairwise(candidate.pieces(mu))
    )
    return continuous and float(candidate(torch.zeros((), dtype=torch.float64, device="cpu"), mu)) == 0


def _known(forward: Elementwise, backward: Elementwise) -> ForwardBackward | None:
    """Find the method of the catalogue that has these quantizers."""
    pairs = (method(name) for name in methods())
    return next((pair for pair in pairs if (pair.forward, pair.backward) == (forward, backward)), None)
