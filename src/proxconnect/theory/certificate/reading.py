"""The reading of a certificate for one comparator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CertificateReading:
    """Both sides of the identity, the bound and the residuals, for one fixed ``u``.

    Args:
        steps: the number of recorded steps.
        left: ``sum [eta <u_k - u, h_k> + dR_k(u_k) - dR_k(u)]``.
        right: ``phi_0(u) - phi_{t+1}(u) + sum phi_{k+1}(u_k)``.
        size: the sum of the absolute values of all terms, weight by weight.
        tolerance: the relative gap that rounding in the latents' dtype may leave; 9e-13 for float64.
        drift: ``sum [dR_k(u_k) - dR_k(u)]``, the contribution of the changing sharpness.
        paid: ``sum phi_{k+1}(u_k)``, the contribution of the moving quantized weight.
        total_eta: ``sum eta``.
        step_energy: ``sum eta |h|^2``.
        delta_energy: ``sum eta |delta|^2``.
        delta_work: ``E(u) = sum eta <u_k - u, delta_k>``.
        measured: ``sum eta (f_k(u_k) - f(u))``; None unless the losses are known.
        jumps: True if ``P`` is declared to jump.
        not_certifiable: step and reason of each infinite potential.
        other_steps: steps that were not ``-eta h``, with ``|h_eff - h| / |h|``.
    """

    steps: int
    left: float
    right: float
    size: float
    tolerance: float
    drift: float
    paid: float
    total_eta: float
    step_energy: float
    delta_energy: float
    delta_work: float
    measured: float | None = None
    jumps: bool = False
    not_certifiable: tuple[str, ...] = ()
    other_steps: tuple[tuple[int, float], ...] = ()

    @property
    def gap(self) -> float:
        """``|left - right|`` relative to :attr:`size`; NaN if a step is not certifiable."""
        if self.not_certifiable:
            return math.nan
        return abs(self.left - self.right) / self.size if self.size else 0.0

    @property
    def holds(self) -> bool:
        """True if every step is certifiable and plain, and the identity holds to rounding."""
        return not self.not_certifiable and not self.other_steps and self.gap <= self.tolerance

    @property
    def residual(self) -> float:
        """``sum eta |delta|^2 / sum eta |h|^2``: 0 for an exact pair; in [0, 1] with constants per level."""
        return self.delta_energy / self.step_energy if self.step_energy else 0.0

    @property
    def bound(self) -> float:
        """Upper bound of ``sum eta (f_k(u_k) - f_k(u))``, ``E(u)`` subtracted.

        The bound applies to a run with a convex ``f_k = l o T_k`` and full gradients; with stochastic
        gradients it applies in expectation. It is infinite if the certificate does not hold.
        """
        return self.right - self.drift - self.delta_work if self.holds else math.inf

    @property
    def mean_bound(self) -> float:
        """Bound of the weighted mean suboptimality: :attr:`bound` divided by ``sum eta``."""
        return self.bound / self.total_eta

    @property
    def mean_measured(self) -> float | None:
        """Measured weighted mean suboptimality; None unless the losses are known."""
        return None if self.measured is None else self.measured / self.total_eta

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "does not hold"
        lines = [
            f"certificate over {self.steps} steps: {verdict}",
            f"identity      left {self.left:.6g}, right {self.right:.6g}, relative gap {self.gap:.2g} "
            f"(rounding may leave {self.tolerance:.2g})",
        ]
        if self.not_certifiable:
            lines.append(f"potentials    not certifiable at {_first(self.not_certifiable)}")
        if self.other_steps:
            k, distance = self.other_steps[0]
            lines.append(
                f"steps         {len(self.other_steps)} of {self.steps} are not -eta h, first step {k}, "
                f"where |h_eff - h| / |h| = {distance:.2g}: momentum, weight decay, clipping or the like"
            )
        lines.append(
            f"exactness     residual {self.residual:.2g} of the steps' energy, E(u) = {self.delta_work:.4g}"
        )
        if self.holds:
            lines.append(
                f"bound         mean suboptimality at most {self.mean_bound:.6g} where l o T is convex, "
                f"of it {self.paid / self.total_eta:.4g} for the movement of P(w*)"
            )
            if self.jumps:
                lines.append(
                    "              P jumps: a crossing costs of order eta, so that no bound vanishes unless "
                    "crossings stop"
                )
        if self.mean_measured is not None:
            lines.append(f"measured      mean suboptimality {self.mean_measured:.6g}")
        return "\n".join(lines)


def added(readings: Sequence[CertificateReading], names: Sequence[str]) -> CertificateReading:
    """Add the readings of several latents that were trained together."""

    def total(field: str) -> float:
        return float(sum(getattr(reading, field) for reading in readings))

    others: dict[int, float] = {}
    for reading in readings:
        for k, distance in reading.other_steps:
            others[k] = max(distance, others.get(k, 0.0))
    return CertificateReading(
        steps=readings[0].steps,
        tolerance=max(reading.tolerance for reading in readings),
        total_eta=readings[0].total_eta,
        jumps=any(reading.jumps for reading in readings),
        not_certifiable=tuple(
            f"{name}, {reason}"
            for name, reading in zip(names, readings, strict=True)
            for reason in reading.not_certifiable
        ),
        other_steps=tuple(sorted(others.items())),
        **{field: total(field) for field in _SUMS},
    )


_SUMS = ("left", "right", "size", "drift", "paid", "step_energy", "delta_energy", "delta_work")


def _first(reasons: tuple[str, ...]) -> str:
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return reasons[0] + more
