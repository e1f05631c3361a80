"""How much of a run's steps no transform explains: ``delta_k = (B(w*_k) - b(u_k)) g_k``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise, ForwardBackward, Sharpness, Slope, identity
from proxconnect.theory.check import check
from proxconnect.theory.regularizer import has_jumps

_MOST_LEVELS = 64


class Residual(Protocol):
    """Collects ``delta_k`` over a run, and answers for all of it."""

    def add(self, u: Tensor, slope: Tensor, mu: float, gradient: Tensor, eta: float, scale: Tensor) -> None:
        """One step: ``u_k``, ``B(w*_k)``, the sharpness, ``g_k``, the step size, the unit of ``w*``."""

    def energy(self) -> float:
        """``sum eta |delta|^2``."""

    def work(self, u: Tensor) -> float:
        """``E(u) = sum eta <u_k - u, delta_k>``."""


@dataclass
class TransformResidual:
    """For a pair that decomposes: ``b = T'``."""

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
    """For any other pair whose F has few values: ``P = F``, and ``b`` is one constant per level.

    The constant is the ``eta g^2``-weighted mean of B over the run, which makes the residual as small as any.
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
    """``P`` and what measures the pair by ``T'``.

    ``P`` is the identity where B is the slope of a continuous F, and F where ``B = 1``. Otherwise the check
    of the pair decides: its ``P`` where the pair is exact; the identity, with ``T = F``, where only a ``T``
    that is not monotone exists; else F, with one constant per level.
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
