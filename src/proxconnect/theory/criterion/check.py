"""Decide if a pair is a reparametrised proximal map with its derivative."""

from __future__ import annotations

import math

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, pair_of
from proxconnect.theory._arguments import positive
from proxconnect.theory.criterion._conditions import Criterion
from proxconnect.theory.criterion._decomposition import Decomposition, Prox, Transform
from proxconnect.theory.criterion._exact_interval import ExactInterval
from proxconnect.theory.criterion.ends import ends_of
from proxconnect.theory.criterion.verdict import Status, Verdict
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.find import structure_of


def check(
    pair: ForwardBackward | str, mu: float = 1.0, domain: tuple[float, float] = (-math.inf, math.inf)
) -> Verdict:
    """Decide if ``F = T o P`` and ``B = T' o P`` for some nondecreasing ``P`` and ``T``.

    The step of such a pair is a proximal step on the reparametrised loss ``l o T``. The pair is exact if and
    only if four conditions hold:

    1. ``F`` does not decrease.
    2. ``B >= 0``, ``F`` does not grow where ``B = 0``, and ``dF/B`` can be integrated.
    3. ``B`` is constant on every flat of ``F``.
    4. ``B`` as a function of ``P`` has one-sided limits and isolated jumps.

    The verdict follows from declared structure where both quantizers declare it. Otherwise it follows from
    samples out to the largest float, refined around jumps, kinks and narrow dips. Such a verdict covers what
    the samples resolve: ``exact_interval`` ends where F or B oscillates too fast to follow, overflows, or
    fades out in floats, and ``evidence`` states the reason and the width of the narrowest feature that is
    surely found. A quantizer that computes in float32, bfloat16 or float16 is judged at that precision.

    Args:
        pair: forward and backward quantizer, or the name of a method.
        mu: sharpness at which to check.
        domain: the interval on which to check. Finite ends belong to it.

    Raises:
        ProxConnectError: ``pair`` is no pair, ``mu`` is not a positive number, ``domain`` is empty, reversed
            or NaN; or a quantizer fails, is not elementwise, is not finite or changes shape or dtype.

    >>> import proxconnect as pc
    >>> print(pc.check("bnn", mu=2.0))
    bnn at mu = 2 on (-inf, inf): not exact
    exact around 0 on: [-0.5, 0.5]
    kinks there: none
    decomposes, T monotone or not: no
    F ends at: -1 and 1, also as mu grows
    1. holds: F does not decrease
    2. holds: B is nonnegative, F does not grow where B = 0, and dF/B can be integrated
    3. fails: B is constant on every flat of F, up to the ends where F is continuous
       B changes on a flat of F or where F leaves it continuously, at w = -0.5
       w = -0.5016: F = -1, B = 0; w = -0.5: F = -1, B = 2; w = -0.499975: F = -1, B = 2
    4. holds: B as a function of P has one-sided limits and isolated jumps, and follows F's side at F's jumps
    evidence: declared structure
    """
    pair = pair_of(pair, "pair")
    mu = positive("mu", mu)
    within = _domain(domain)
    structure = structure_of(pair, mu, within)
    criterion = Criterion(structure)
    status: Status = "not exact" if criterion.failures else "undetermined" if criterion.unknowns else "exact"
    around = ExactInterval(criterion)
    interval = around.find()
    decomposition = None if interval is None else Decomposition(structure, interval)
    return Verdict(
        pair=pair,
        mu=mu,
        domain=within,
        status=status,
        conditions=criterion.conditions(),
        exact_interval=interval,
        decomposes=criterion.decomposes(),
        kinks=around.kinks(interval),
        evidence=structure.evidence,
        ends=ends_of(pair.forward, mu, within),
        nowhere="" if interval is not None else around.nowhere(),
        P=None if decomposition is None else Prox(decomposition),
        T=None if decomposition is None else Transform(decomposition),
    )


def _domain(domain: tuple[float, float]) -> Interval:
    try:
        low, high = map(float, domain)
    except (TypeError, ValueError) as error:
        raise ProxConnectError(f"domain must be two numbers (low, high), not {domain!r}") from error
    if not low < high:
        raise ProxConnectError(f"domain must be (low, high) with low < high, not ({low:g}, {high:g})")
    if low == math.inf or high == -math.inf:
        raise ProxConnectError(f"domain ({low:g}, {high:g}) holds no number")
    return Interval(low, high, math.isfinite(low), math.isfinite(high))
