"""Measure the part of a run's steps that no transform explains: ``delta_k = (B(w*_k) - b(u_k)) g_k``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise, ForwardBackward, Sharpness, Slope, identity
from proxconnect.theory.criterion.check import check
from proxconnect.theory.potential.regularizer import has_jumps

_MOST_LEVELS = 64


class Residual(Protocol):
    """The sums of ``delta_k`` over a run."""

    def add(self, u: Tensor, slope: Tensor, mu: float, gradient: Tensor, eta: float, scale: Tensor) -> None:
        """Add a step: ``u_k``, ``B(w*_k)``, the sharpness, ``g_k``, the step size, the unit of ``w*``."""

    def energy(self) -> float:
        """Return ``sum eta |delta|^2``."""

    def work(self, u: Tensor) -> float:
        """Return ``E(u) = sum eta <u_k - u, delta_k>``."""


@dataclass
class TransformResidual:
    """The residual of a pair that decomposes: ``b = T'``."""

    transform_slope: Elementwise
    _energy: float = 0.0
    _work: float = 0.0
    _moved: Tensor | float = 0.0

    def add(self, u: Tensor, slope: Tensor, mu: float, gradient: Tensor, eta: float, scale: Tensor) -> None:
        delta = (slope - self.transform_slope(u, mu)) * gradient
        moved = eta * scale * delta
        self._energy += eta * float(delta.square().sum())
        self._work += float((u * moved).sum())
        self._moved = self._moved + moved

    def energy(self) -> float:
        return self._energy

    def work(self, u: Tensor) -> float:
        return self._work - float((u * self._moved).sum())


@dataclass
class _Level:
    """Sums over the weights while they are at one level."""

    weight: float = 0.0  # eta g^2
    first: float = 0.0  # eta g^2 B
    second: float = 0.0  # eta g^2 B^2
    sloped: Tensor | float = 0.0  # eta s B g, per weight
    plain: Tensor | float = 0.0  # eta s g, per weight

    def mean(self) -> float:
        return self.first / self.weight if self.weight else 0.0


@dataclass
class LevelResidual:
    """The residual of any other pair whose F has few values: ``P = F``, and ``b`` is one constant per level.

    The constant is the ``eta g^2``-weighted mean of B over the run. No other constant gives a smaller
    residual.
    """

    _levels: dict[float, _Level] = field(default_factory=dict)

    def add(self, u: Tensor, slope: Tensor, mu: float, gradient: Tensor, eta: float, scale: Tensor) -> None:
        squares, moved = eta * gradient.square(), eta * scale * gradient
        values = u.unique().tolist()
        if len(self._levels.keys() | set(values)) > _MOST_LEVELS:
            raise ProxConnectError(
                f"the pair is not exact and its forward has more than {_MOST_LEVELS} values, so that no "
                "constant per level measures it; pass prox and transform_slope, or take an exact pair"
            )
        for value in values:
            level = self._levels.setdefault(value, _Level())
            here = (u == value).to(u.dtype)
            level.weight += float((here * squares).sum())
            level.first += float((here * squares * slope).sum())
            level.second += float((here * squares * slope.square()).sum())
            level.sloped = level.sloped + here * slope * moved
            level.plain = level.plain + here * moved

    def energy(self) -> float:
        spread = (level.second - level.mean() * level.first for level in self._levels.values())
        return sum(max(0.0, value) for value in spread)

    def work(self, u: Tensor) -> float:
        return sum(
            float(((value - u) * (level.sloped - level.mean() * level.plain)).sum())
            for value, level in self._levels.items()
        )


def decomposition(pair: ForwardBackward, mu: float) -> tuple[Elementwise, Residual]:
    """Choose ``P`` and the residual for a pair.

    ``P`` is the identity if B is the slope of a continuous F, and F if ``B = 1``. For any other pair the
    check decides. If the pair is exact, ``P`` is the one that the check finds. If only a ``T`` that is not
    monotone exists, ``P`` is the identity and ``T = F``. If none exists, ``P`` is F, with one constant per
    level.
    """
    forward, backward = pair.forward, pair.backward
    if isinstance(backward, Slope) and backward.map == forward and not has_jumps(forward, mu):
        return identity, TransformResidual(backward)
    if isinstance(backward, Slope) and backward.map == identity:
        return forward, TransformResidual(backward)
    verdict = check(pair, mu)
    if verdict.exact:
        return _checked(pair)
    if verdict.decomposes:
        return identity, TransformResidual(ForwardBackward(forward).backward)
    return forward, LevelResidual()


def _checked(pair: ForwardBackward) -> tuple[Elementwise, Residual]:
    @cache
    def found(mu: float) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        verdict = check(pair, mu)
        if not verdict.exact or verdict.P is None or verdict.T is None:
            raise ProxConnectError(
                f"{pair.name} is exact at the first sharpness of the run but not at {mu:.6g}: pass the prox "
                "and transform_slope that hold for all of it"
            )
        return verdict.P, verdict.T.slope

    def prox(w: Tensor, mu: Sharpness) -> Tensor:
        return found(float(mu))[0](w)

    return prox, TransformResidual(lambda u, mu: found(float(mu))[1](u))
