"""``check``: is a pair a reparametrised proximal map with its derivative?"""

from __future__ import annotations

import math

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward
from proxconnect.theory._criterion import Criterion
from proxconnect.theory._declared import declared_shape
from proxconnect.theory._decomposition import Decomposition, Prox, Transform
from proxconnect.theory._interval import ExactInterval
from proxconnect.theory._numeric import sampled_shape
from proxconnect.theory.verdict import Interval, Status, Verdict


def check(
    pair: ForwardBackward, mu: float = 1.0, domain: tuple[float, float] = (-math.inf, math.inf)
) -> Verdict:
    """Decides whether ``F = T o P`` and ``B = T' o P`` with ``P`` and ``T`` nondecreasing.

    Such a pair's step is a proximal step on the reparametrised loss. The pair is exact iff ``F`` does not
    decrease; ``B >= 0``, ``F`` does not grow where ``B = 0`` and ``dF/B`` can be integrated; ``B`` is
    constant on every flat of ``F``; and ``B`` as a function of ``P`` has one-sided limits and isolated jumps.
    Decided from declared structure where both quantizers have some, otherwise from samples out to the largest
    float, refined around jumps, kinks and narrow dips. A verdict from samples covers what they could see: its
    ``exact_interval`` ends where F or B oscillates too fast to follow, overflows, or fades out in floats, and
    its ``evidence`` tells that and how narrow a feature is seen. A quantizer that computes in float32,
    bfloat16 or float16 is judged at that precision.

    Args:
        pair: forward and backward quantizer.
        mu: sharpness to check at.
        domain: the interval to check on; finite ends belong to it.

    Raises:
        ProxConnectError: ``pair`` is no pair, ``mu`` is not a positive number, ``domain`` is empty, reversed
            or NaN; or a quantizer fails, is not elementwise, is not finite or changes shape or dtype.

    >>> import proxconnect as pc
    >>> print(pc.check(pc.method("bnn"), mu=2.0))
    bnn at mu = 2 on (-inf, inf): not exact
    exact around 0 on: [-0.5, 0.5]
    kinks there: none
    decomposes, T monotone or not: no
    1. holds: F does not decrease
    2. holds: B is nonnegative, F does not grow where B = 0, and dF/B can be integrated
    3. fails: B is constant on every flat of F, up to the ends where F is continuous
       B changes on a flat of F or where F leaves it continuously, at w = -0.5
       w = -0.5016: F = -1, B = 0; w = -0.5: F = -1, B = 2; w = -0.499975: F = -1, B = 2
    4. holds: B as a function of P has one-sided limits and isolated jumps, and follows F's side at F's jumps
    evidence: declared structure
    """
    if not isinstance(pair, ForwardBackward):
        raise ProxConnectError(
            f"check takes a ForwardBackward, such as pc.method('bnn++'), not {type(pair).__name__}"
        )
    mu = positive_sharpness(mu)
    within = _domain(domain)
    shape = declared_shape(pair, mu, within) or sampled_shape(pair, mu, within)
    criterion = Criterion(shape)
    status: Status = "not exact" if criterion.failures else "undetermined" if criterion.unknowns else "exact"
    around = ExactInterval(criterion)
    interval = around.find()
    decomposition = None if interval is None else Decomposition(shape, interval)
    return Verdict(
        name=pair.name,
        mu=mu,
        domain=within,
        status=status,
        conditions=criterion.conditions(),
        exact_interval=interval,
        decomposes=criterion.decomposes(),
        kinks=around.kinks(interval),
        evidence=shape.evidence,
        nowhere="" if interval is not None else around.nowhere(),
        P=None if decomposition is None else Prox(decomposition),
        T=None if decomposition is None else Transform(decomposition),
    )


def positive_sharpness(mu: float) -> float:
    """``mu`` as a float, refused unless it is positive and finite."""
    try:
        value = float(mu)
    except (TypeError, ValueError) as error:
        raise ProxConnectError(f"mu must be a positive number, not {mu!r}") from error
    if not 0 < value < math.inf:
        raise ProxConnectError(f"mu must be a positive finite number, not {value:g}")
    return value


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
