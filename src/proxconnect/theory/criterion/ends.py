"""Find where a forward quantizer ends: its limits far out, at one sharpness and as the sharpness grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory.interval import Interval, in_digits
from proxconnect.theory.sampling.probe import Probe

LINE = Interval(-math.inf, math.inf, False, False)
# Latents so far out that a bounded function has settled, and their fourth powers are still finite.
_FAR = np.array([1e60, 1e40, 1e25, 1e15, 1e10])
_NEARER = np.array([320.0, 160.0, 80.0, 40.0, 20.0])  # in units of 1/mu, for functions that overflow there
_SETTLED = 1e-6
_GROWN = 1e3, 1e6  # sharpnesses that show what becomes of the ends
_FADES, _STAYS = 0.7, 1e-2

Pair = tuple[float, float]


@dataclass(frozen=True)
class Ends:
    """The limits of a forward quantizer far out, at one sharpness and as the sharpness grows.

    Args:
        low: its limit at the lower end of the domain; infinite where it is unbounded, NaN where unknown.
        high: its limit at the upper end.
        as_mu_grows: what becomes of both limits as ``mu`` grows without bound.

    >>> print(Ends(-1.0, 1.0, (-1.0, 1.0)))
    -1 and 1, also as mu grows
    >>> print(Ends(-1.5, 1.5, (0.0, 0.0)))
    -1.5 and 1.5; as mu grows, 0 and 0: F fades to nothing
    """

    low: float
    high: float
    as_mu_grows: Pair

    def __str__(self) -> str:
        if (self.low, self.high) == self.as_mu_grows:
            return f"{_both(self.low, self.high)}, also as mu grows"
        fades = ": F fades to nothing" if self.fades else ""
        return f"{_both(self.low, self.high)}; as mu grows, {_both(*self.as_mu_grows)}{fades}"

    @property
    def fades(self) -> bool:
        """True if both ends come together at 0 as ``mu`` grows, though they are apart now."""
        return not any(self.as_mu_grows) and self.low != self.high

    @property
    def bounded(self) -> bool:
        """True if both ends are finite and apart."""
        return math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high

    def approach(self, levels: Pair) -> bool:
        """Return True if both ends tend to these levels as ``mu`` grows."""
        pairs = zip(self.as_mu_grows, levels, strict=True)
        return all(math.isclose(end, level, rel_tol=1e-4, abs_tol=1e-4) for end, level in pairs)


def ends_of(forward: Elementwise, mu: float, domain: Interval = LINE) -> Ends:
    """Find where a forward quantizer ends on a domain, from its declared pieces or from its values far out.

    >>> from proxconnect.quantizers import tanh
    >>> print(ends_of(tanh, 0.5))
    -2 and 2; as mu grows, -1 and 1
    """
    low, high = ends_at(forward, mu, domain)
    try:
        first, last = (ends_at(forward, max(mu, 1.0) * factor, domain) for factor in _GROWN)
    except ProxConnectError:  # a function that takes no large sharpness
        first = last = (math.nan, math.nan)
    return Ends(low, high, (_limit(low, first[0], last[0]), _limit(high, first[1], last[1])))


def ends_at(forward: Elementwise, mu: float, domain: Interval) -> Pair:
    """Find the limits of a forward quantizer at both ends of a domain, at one sharpness.

    A quantizer that has ``ends(mu)`` or ``pieces(mu)`` tells its limits on the whole line itself.
    """
    known: Any = getattr(forward, "ends", None)
    if known is not None and domain == LINE:
        low, high = known(mu)
        return low, high
    declared: Any = getattr(forward, "pieces", None)
    if declared is not None and domain == LINE:
        pieces = declared(mu)
        return pieces[0].start_value, pieces[-1].end_value
    probe = Probe(forward, "forward", mu)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (_end(probe, end, sign) for end, sign in ((domain.low, -1.0), (domain.high, 1.0)))
    return low, high


def levels_of(ends: Ends) -> Pair:
    """Return the levels of a quantizer: where it ends, if it stays there as ``mu`` grows, else -1 and 1.

    >>> levels_of(Ends(0.0, 1.0, (0.0, 1.0))), levels_of(Ends(-1.5, 1.5, (0.0, 0.0)))
    ((0.0, 1.0), (-1.0, 1.0))
    """
    own = ends.low, ends.high
    return own if ends.bounded and ends.approach(own) else (-1.0, 1.0)


def _end(probe: Probe, end: float, sign: float) -> float:
    """Find the limit at one end of the domain: the outermost value that has settled."""
    if math.isfinite(end):
        return float(probe.unguarded(np.array([end]))[0])
    values = probe.unguarded(sign * _FAR)
    if np.isfinite(values).sum() < 2:
        values = probe.unguarded(sign * _NEARER / probe.mu)
    return settled(values[np.isfinite(values)].tolist())


def settled(values: list[float]) -> float:
    """Return the outermost value that the next one inwards confirms.

    ``values`` begin far out. If none is confirmed, the limit is infinite where they grow, else NaN.

    >>> settled([1.0, 1.0, 0.5]), settled([1e9, 1e6, 1e3]), settled([3.0, -1.0])
    (1.0, inf, nan)
    """
    for outer, inner in pairwise(values):
        if abs(outer - inner) <= _SETTLED * max(abs(outer), abs(inner)):
            return float(outer)
    growing = len(values) > 2 and all(abs(outer) > 1.2 * abs(inner) for outer, inner in pairwise(values[:3]))
    return math.copysign(math.inf, values[0]) if growing else math.nan


def _limit(now: float, first: float, last: float) -> float:
    """Judge from the end at two large sharpnesses what becomes of it."""
    if not (math.isfinite(first) and math.isfinite(last)):
        return last if first == last else math.nan
    if abs(last - first) <= _STAYS * abs(first):
        return now if math.isclose(last, now, rel_tol=1e-6, abs_tol=1e-12) else float(f"{last:.6g}")
    if abs(last) < _FADES * abs(first):
        return 0.0
    return math.copysign(math.inf, last) if abs(first) < _FADES * abs(last) else math.nan


def _both(low: float, high: float) -> str:
    return " and ".join("unknown" if math.isnan(end) else in_digits(end) for end in (low, high))
