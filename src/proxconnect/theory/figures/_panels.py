"""Draw panels of curves at several sharpnesses, for the figures of pairs and of maps.

The panels are legible at a width of 8 cm and in grey: the curves of two sharpnesses differ in lightness, dash
and hue. A thin line is no part of a graph. It joins the two sides of a jump, or crosses a gap in which the
regularizer is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import Elementwise
from proxconnect.theory.potential.regularizer import convex_potential
from proxconnect.theory.sampling.runs import true_runs

LATENTS = torch.linspace(-3, 3, 2401, dtype=torch.float64, device="cpu")
VALUES = torch.arange(-520, 521, dtype=torch.float64, device="cpu") / 400  # with -1, 0 and 1 exactly
WIDTH = 6.4

_STYLES = (("#a8c8e8", "-"), ("#d4783a", "--"), ("#222222", "-."))
_THIN, _THICK = 0.8, 2.2


@dataclass(frozen=True)
class Curve:
    """Points joined by a line; a single one is a dot."""

    x: Tensor
    y: Tensor
    thin: bool = False


def draw_panel(axis: Any, title: str, label: str, curves_by_mu: Sequence[list[Curve]], none: str) -> None:
    """Draw the curves of each sharpness, or the text ``none`` where there are none."""
    axis.set_title(title, fontsize=13)
    axis.set_xlabel(label, fontsize=11, labelpad=1)
    axis.tick_params(labelsize=10)
    if not any(curves_by_mu):
        axis.set(xticks=[], yticks=[])
        axis.text(0.5, 0.5, none, transform=axis.transAxes, ha="center", va="center", fontsize=11)
        return
    axis.axhline(0, color="0.85", linewidth=0.8)
    axis.axvline(0, color="0.85", linewidth=0.8)
    for curves, (color, dash) in zip(curves_by_mu, _STYLES, strict=False):
        for curve in curves:
            if len(curve.x) == 1:
                axis.plot(curve.x, curve.y, color=color, marker="o", markersize=5)
            elif curve.thin:
                axis.plot(curve.x, curve.y, color=color, linewidth=_THIN)
            else:
                axis.plot(curve.x, curve.y, color=color, linestyle=dash, linewidth=_THICK)
    low, high = axis.get_xlim()
    if high - low > 5:
        axis.set_xticks([-2, 0, 2])
    bottom, top = axis.get_ylim()
    if top - bottom < 0.12:  # limits around a constant, so that rounding errors are not magnified
        axis.set_ylim(bottom - 0.5, top + 0.5)


def legend_handles(axis: Any, mus: Sequence[float]) -> list[Any]:
    """Make the entries of a legend, one for each sharpness."""
    return [
        axis.plot([], [], color=color, linestyle=dash, linewidth=2.5, label=f"mu = {mu:.3g}")[0]
        for mu, (color, dash) in zip(mus, _STYLES, strict=False)
    ]


def unbroken(x: Tensor, y: Tensor) -> list[Curve]:
    """Split a curve at its jumps, and add a thin line across each jump."""
    steps = (y[1:] - y[:-1]).abs()
    usual = steps.median() + (y.max() - y.min()) / 50
    cuts = ((steps > 4 * usual).nonzero().flatten() + 1).tolist()
    parts = [Curve(x[a:b], y[a:b]) for a, b in pairwise([0, *cuts, len(x)])]
    return parts + [Curve(x[k - 1 : k + 1], y[k - 1 : k + 1], thin=True) for k in cuts]


def potential_curves(prox: Elementwise, mu: float, *, convex: bool) -> list[Curve]:
    """Make the curves of ``R`` (convex) or of ``r = R - z^2/2``, thin across gaps of P's range.

    The list is empty for a map that falls, which has neither.
    """
    try:
        potential = convex_potential(prox, mu)
    except ProxConnectError:
        return []
    z = VALUES
    y = potential.R(z) if convex else potential.R(z) - z.square() / 2
    finite, free = y.isfinite(), potential.in_gap(z).bool()
    gaps = [slice(first - 1, last + 2) for first, last in true_runs((finite & free).numpy())]
    runs = [slice(first, last + 1) for first, last in true_runs((finite & ~free).numpy())]
    return [Curve(z[run], y[run]) for run in runs] + [Curve(z[gap], y[gap], thin=True) for gap in gaps]
