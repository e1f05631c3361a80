"""Repair a pair that is not exact: keep ``B`` and integrate it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch

from proxconnect.base.notice import notice
from proxconnect.quantizers import ForwardBackward, method, methods, pair_of
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Slope
from proxconnect.theory._arguments import positive
from proxconnect.theory.criterion.check import check
from proxconnect.theory.criterion.ends import Ends, Pair, ends_of, levels_of
from proxconnect.theory.interval import in_digits
from proxconnect.theory.synthesis._integral import Integral
from proxconnect.theory.synthesis._scaled import Scaled


def repair(pair: ForwardBackward | str, mu: float = 1.0, normalise: bool = True) -> ForwardBackward:
    """Return a pair with the same backward quantizer and a forward quantizer that fits it.

    An exact pair keeps its forward quantizer. For any other pair the new forward quantizer is ``int_0^w B``.
    It is the map itself where ``B`` is declared as the slope of a map, and a quadrature elsewhere. Where both
    the integral and the pair's own forward quantizer are bounded, a constant is added that gives both the
    same middle: a quantizer whose threshold is not 0 stays centred on its levels. The repaired pair
    decomposes with ``P = c w``, and it is exact wherever ``B`` is not negative. A second repair changes
    nothing.

    Hardening moves each weight to a level, so ``F`` has to end at the levels. The criterion does not see
    this: if ``(F, B)`` is exact, so is ``(a + c F, B)`` for every ``c > 0``. With ``normalise``, a bounded
    ``F`` whose ends do not tend to the levels as ``mu`` grows becomes ``a + c F``, with ``a`` and ``c`` such
    that it ends at the levels at every ``mu``. The levels are the ends of the pair's own forward quantizer if
    they do not depend on ``mu``, else -1 and 1. A warning says where ``F`` ended, if it was scaled, or if it
    does not end at the levels.

    In training, on float32 and narrower types, the integral is read from a table, and so is ``B`` where
    layers run compiled code. Where ``B`` is a factor that depends on ``mu`` times a function of ``mu w``,
    ``w`` or ``w/mu``, one table serves every ``mu``; elsewhere each ``mu`` needs its own.

    Args:
        pair: any pair, or the name of a method. Its forward quantizer decides only whether to repair, and the
            levels.
        mu: the sharpness at which the pair is checked. The repaired pair works at every sharpness.
        normalise: False leaves ``F`` unscaled.

    Raises:
        ProxConnectError: ``check`` refuses the pair, or ``B`` cannot be integrated.

    >>> import warnings
    >>> import proxconnect as pc
    >>> pc.repair("bnn+") == pc.method("bnn++")
    True
    >>> pc.repair("bnn").name
    'hardtanh'
    >>> sign = pc.method("bc").forward
    >>> fading = pc.ForwardBackward(sign, lambda w, mu: 1 / (1 + (mu * w) ** 2), "arctan")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")        # it says that F fades and is scaled
    ...     repaired = pc.repair(fading, mu=2.0)   # int_0^w B = arctan(mu w) / mu
    >>> print(pc.check(repaired, mu=2.0).ends)
    -1 and 1, also as mu grows
    >>> repaired.backward is fading.backward
    True
    """
    mu, pair = positive("mu", mu), pair_of(pair, "pair")
    verdict = check(pair, mu)
    forward = pair.forward if verdict.exact else _integral_of(pair, mu)
    ends, levels = ends_of(forward, mu), levels_of(verdict.ends)
    off = not ends.approach(levels)
    repaired = _scaled(forward, levels) if off and normalise and ends.bounded else forward
    if repaired == pair.forward:
        return pair
    if off:
        _report(pair, ends, levels, repaired is not forward)
    name = f"{pair.name}, {'scaled' if verdict.exact else 'repaired'}"
    return _known(repaired, pair.backward) or ForwardBackward(repaired, pair.backward, name)


def _report(pair: ForwardBackward, ends: Ends, levels: tuple[float, float], scaled: bool) -> None:
    """Say where F ends if that is not at the levels, and what was done about it."""
    at_levels = " and ".join(map(in_digits, levels))
    if scaled:
        done = f"repair scales it, so that it ends at {at_levels} at every mu; normalise=False does not"
    elif ends.bounded:
        done = f"not at {at_levels}, to which hardening moves the weights; normalise=True scales it"
    else:
        done = f"not at {at_levels}, to which hardening moves the weights, and no scale makes it end there"
    notice(f"the forward quantizer that fits the backward quantizer of {pair.name!r} ends at {ends}; {done}")


def _integral_of(pair: ForwardBackward, mu: float) -> Elementwise:
    """Find the map whose slope ``B`` is, if the map is its slope's integral from 0; else use quadrature."""
    if isinstance(pair.backward, Slope) and _integrates_its_slope(pair.backward.map, mu):
        return pair.backward.map
    if isinstance(pair.forward, Integral) and pair.forward.backward == pair.backward:
        return pair.forward
    return Integral(pair.backward, pair.forward)


def _scaled(forward: Elementwise, levels: Pair) -> Elementwise:
    return replace(forward, levels=levels) if isinstance(forward, Integral) else Scaled(forward, levels)


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
