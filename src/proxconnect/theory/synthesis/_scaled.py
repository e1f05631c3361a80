"""A forward quantizer that is scaled so that it ends at given levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory.criterion.ends import LINE, Pair, ends_at


@dataclass(frozen=True)
class Scaled:
    """The forward quantizer ``a + c F(w)`` that ends at ``levels`` at every ``mu``.

    ``c > 0`` and ``a`` depend on ``mu`` alone. Where ``F`` has no two ends at a ``mu``, it stays as it is.

    Args:
        forward: ``F``.
        levels: the lowest and the highest level.
    """

    forward: Elementwise
    levels: Pair

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Evaluate ``a + c F(w)``, of the shape and dtype of ``w``."""
        mu = float(mu)
        a, c = _line(self.forward, self.levels, mu)
        return evaluated(self.forward, w, mu) * c + a

    def ends(self, mu: float) -> Pair:
        """Return the limits far out on either side."""
        low, high = ends_at(self.forward, mu, LINE)
        return self.levels if low < high and math.isfinite(high - low) else (low, high)


@lru_cache(maxsize=1024)
def _line(forward: Elementwise, levels: Pair, mu: float) -> tuple[float, float]:
    return line_to(levels, ends_at(forward, mu, LINE))


def line_to(levels: Pair, ends: Pair) -> tuple[float, float]:
    """Return ``a`` and ``c`` such that ``a + c F`` ends at the levels, 0 and 1 where ``F`` has no two ends.

    >>> line_to((0.0, 1.0), (-2.0, 2.0))
    (0.5, 0.25)
    """
    low, high = ends
    if not (low < high and math.isfinite(high - low)):
        return 0.0, 1.0
    c = (levels[1] - levels[0]) / (high - low)
    a = levels[0] - c * low
    return (a if abs(a) > 1e-9 * (levels[1] - levels[0]) else 0.0), c
