"""Collect the sums of a certified run; both sides of the identity follow from them for any comparator."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise
from proxconnect.theory.certificate._residual import Residual
from proxconnect.theory.certificate.reading import CertificateReading
from proxconnect.theory.potential.regularizer import ConvexPotential, convex_potential, has_jumps

# Tolerances in units of the dtype's epsilon: a run adds up many rounding errors, a step has a few.
_IDENTITY_ROUNDING = 4096
_STEP_ROUNDING = 16


class RunSums:
    """The sums of a run so far. ``u`` is in units of ``s``; products and potentials are in units of 1."""

    def __init__(
        self, first: Tensor, s: Tensor, mu: float, epsilon: float, prox: Elementwise, residual: Residual
    ) -> None:
        self.first = self.last = first
        self.s, self.epsilon, self.prox, self.residual = s, epsilon, prox, residual
        self.mus = [mu]
        self.etas: list[float] = []
        self.losses: list[float | None] = []
        self.divergences: list[float] = []
        self.not_certifiable: list[str] = []
        self.other_steps: list[tuple[int, float]] = []
        self.moved = torch.zeros_like(first)  # sum eta s h
        self.work = self.energy = self.drift = self.size = 0.0
        self._potentials: dict[float, ConvexPotential] = {}

    @property
    def steps(self) -> int:
        return len(self.etas)

    def potential(self, mu: float) -> ConvexPotential:
        if mu not in self._potentials:
            self._potentials[mu] = convex_potential(self.prox, mu, epsilon=self.epsilon)
        return self._potentials[mu]

    def add_step(self, before: Tensor, after: Tensor, eta: float, h: Tensor, u: Tensor) -> None:
        step = eta * h
        difference = (before - after - step).abs()
        rounding = before.abs() + after.abs() + step.abs()
        if (difference > _STEP_ROUNDING * self.epsilon * rounding).any():
            size = float(step.norm())
            self.other_steps.append((self.steps, float(difference.norm()) / size if size else math.inf))
        products = u * self.s * step
        self.moved = self.moved + self.s * step
        self.work += float(products.sum())
        self.size += float(products.abs().sum())
        self.energy += eta * float(h.square().sum())
        self.etas.append(eta)

    def add_potentials(
        self, u: Tensor, after: Tensor, now: ConvexPotential, then: ConvexPotential, mu: float
    ) -> None:
        k, square = len(self.divergences), self.s.square()
        change = square * (then.R(u) - now.R(u)) if mu != self.mus[-1] else torch.zeros_like(u)
        divergence, _ = self._phi(u, after, then)
        if math.isinf(divergence):
            self.not_certifiable.append(
                f"step {k}: R_{k + 1}(u_{k}) is infinite: u_{k} is outside the range of P at mu = {mu:.6g}"
            )
        self.drift += float(change.sum())
        self.size += float(change.abs().sum()) + divergence
        self.divergences.append(divergence)
        self.mus.append(mu)
        self.last = after

    def against(self, u: Tensor, loss: float | None) -> CertificateReading:
        square = self.s.square()
        values = {mu: float((square * self.potential(mu).R(u)).sum()) for mu in dict.fromkeys(self.mus)}
        outside = (
            f"step {min(k, self.steps - 1)}: R_{k}(u) is infinite: u is outside the range of P "
            f"at mu = {mu:.6g}"
            for k, mu in enumerate(self.mus)
            if math.isinf(values[mu])
        )
        changes = [values[after] - values[before] for before, after in pairwise(self.mus)]
        first, first_size = self._phi(u, self.first, self.potential(self.mus[0]))
        last, last_size = self._phi(u, self.last, self.potential(self.mus[-1]))
        pull = u * self.moved
        drift, paid = self.drift - sum(changes), sum(self.divergences)
        return CertificateReading(
            steps=self.steps,
            left=self.work - float(pull.sum()) + drift,
            right=first - last + paid,
            size=self.size + float(pull.abs().sum()) + sum(map(abs, changes)) + first_size + last_size,
            tolerance=_IDENTITY_ROUNDING * self.epsilon,
            drift=drift,
            paid=paid,
            total_eta=sum(self.etas),
            step_energy=self.energy,
            delta_energy=self.residual.energy(),
            delta_work=self.residual.work(u),
            measured=None if loss is None else self._suboptimality(loss),
            jumps=bool(has_jumps(self.prox, self.mus[-1])),
            not_certifiable=(*self.not_certifiable, *outside),
            other_steps=tuple(self.other_steps),
        )

    def _suboptimality(self, loss: float) -> float:
        total = 0.0
        for eta, step_loss in zip(self.etas, self.losses, strict=True):
            if step_loss is None:
                raise ProxConnectError("loss at u is given, but not every step was recorded with its loss")
            total += eta * (step_loss - loss)
        return total

    def _phi(self, u: Tensor, w: Tensor, potential: ConvexPotential) -> tuple[float, float]:
        """Compute ``R(u) + R*(w*) - <u, w*>``, and the sum of the absolute values of its terms."""
        s = self.s
        square = s.square()
        terms = torch.stack([square * potential.R(u), square * potential.R_conjugate(w / s), -s * u * w])
        return float(terms.sum(0).sum()), float(terms.abs().sum())


def in_float64(tensor: Tensor) -> Tensor:
    """Copy a tensor to float64 on the CPU, detached."""
    # A copy, because optimizers move latents in place.
    return tensor.detach().to("cpu", torch.float64, copy=True)
