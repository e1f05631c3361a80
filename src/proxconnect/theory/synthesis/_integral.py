"""The forward quantizer ``int B``: by quadrature in float64, and from a table in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from proxconnect.kernels import TabulatedFunction
from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.theory.criterion.ends import LINE, Pair, ends_at
from proxconnect.theory.synthesis._lookup import look_up, tabulation_of
from proxconnect.theory.synthesis._quadrature import table_of
from proxconnect.theory.synthesis._scaled import line_to
from proxconnect.theory.synthesis._scaling import scaling_at


@dataclass(frozen=True)
class Integral:
    """The forward quantizer ``F(w) = a + c int_0^w B``.

    Without ``levels``, ``c`` is 1 and ``a`` gives ``F`` the middle of ``centre``, or is 0 unless both are
    bounded. With ``levels``, ``F`` ends at them at every ``mu`` at which it is bounded.

    In float64 it has about ten digits, and it is constant exactly where ``B`` is 0. In narrower types it
    comes from a table, with the error that :class:`Tabulation` states. Where ``B_mu(w) = h(mu) B_1(mu^p w)``
    for ``p`` 1, 0 or -1, one table serves every ``mu``.

    Args:
        backward: ``B``.
        centre: the forward quantizer that this one replaces.
        levels: the lowest and the highest level; None to leave the integral unscaled.
    """

    backward: Elementwise
    centre: Elementwise
    levels: Pair | None = None

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Evaluate ``F(w)``, of the shape and dtype of ``w``."""
        mu = float(mu)
        if w.dtype != torch.float64 and not (w.requires_grad and torch.is_grad_enabled()):
            return look_up(self.value_table(mu), w)
        at, inner, factor = scaling_at(self.backward, mu)
        table = table_of(self.backward, at)
        a, c = self._line(mu, _times(factor, table.ends))
        value = table.quadrature((w * inner).to(torch.float64))
        return (value * (c * factor) + a).to(w.dtype)

    def ends(self, mu: float) -> Pair:
        """Return the limits of ``F`` far out on either side."""
        at, _, factor = scaling_at(self.backward, mu)
        low, high = _times(factor, table_of(self.backward, at).ends)
        if self.levels is not None and low < high and math.isfinite(high - low):
            return self.levels
        a, c = self._line(mu, (low, high))
        return a + c * low, a + c * high

    @property
    def integrates(self) -> Elementwise:
        """The backward quantizer whose table :meth:`slope_table` gives."""
        return self.backward

    def value_table(self, mu: float) -> TabulatedFunction:
        """Return ``F`` at one sharpness as compiled code takes it."""
        at, inner, factor = scaling_at(self.backward, mu)
        tabulation = tabulation_of(self.backward, at)
        a, c = self._line(mu, _times(factor, tabulation.ends))
        return TabulatedFunction(tabulation.integrals, inner, c * factor, a)

    def slope_table(self, mu: float) -> TabulatedFunction:
        """Return ``B`` at one sharpness as compiled code takes it."""
        at, inner, factor = scaling_at(self.backward, mu)
        return TabulatedFunction(tabulation_of(self.backward, at).slopes, inner, factor * inner, 0.0)

    def _line(self, mu: float, ends: Pair) -> tuple[float, float]:
        """Return ``a`` and ``c``, given the ends of the integral from 0."""
        if self.levels is None:
            return _shift(self.centre, mu, ends), 1.0
        return line_to(self.levels, ends)


def _times(factor: float, ends: Pair) -> Pair:
    return factor * ends[0], factor * ends[1]


@lru_cache(maxsize=256)
def _shift(centre: Elementwise, mu: float, ends: Pair) -> float:
    """Find the constant that gives an integral with these ends the middle of ``centre``."""
    low, high = ends
    levels = ends_at(centre, mu, LINE)
    if not all(map(math.isfinite, (low, high, *levels))) or not low < high:
        return 0.0
    shift = (levels[0] + levels[1]) / 2 - (low + high) / 2
    return shift if abs(shift) > 1e-9 * (high - low) else 0.0
