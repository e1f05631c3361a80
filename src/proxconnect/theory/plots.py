"""One figure per pair: F, B, P, T and r at several sharpnesses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proxconnect._figures import figure_to
from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward
from proxconnect.theory.check import check
from proxconnect.theory.regularizer import implicit_regularizer
from proxconnect.theory.verdict import Verdict

# Told apart in grey by lightness and dash, in colour by hue as well.
_STYLES = (("#a8c8e8", "-"), ("#d4783a", "--"), ("#222222", "-."))
_LATENTS = torch.linspace(-3, 3, 2401, dtype=torch.float64)
_VALUES = torch.linspace(-1.3, 1.3, 1041, dtype=torch.float64)


def draw_pair(pair: ForwardBackward, path: Path, mus: Sequence[float] = (1.0, 3.0, 9.0)) -> None:
    """Draw ``pair`` to an image file, legible at a width of 8 cm and in grey.

    P and T are drawn on the largest exact interval around 0 at each ``mu``; r where F is monotone.

    Args:
        pair: the pair.
        path: the file to write; its ending chooses the format.
        mus: up to three sharpnesses.

    Raises:
        ProxConnectError: the pair is refused by :func:`proxconnect.check`, or the format is unknown.
    """
    with figure_to(path, size=(6.4, 4.6)) as figure:
        verdicts = [check(pair, mu=mu) for mu in mus]
        axes = figure.subplots(2, 3)
        panels: tuple[tuple[str, str, Callable[[float, Verdict], list[Curve]]], ...] = (
            ("forward F", "w*", lambda mu, verdict: _unbroken(_LATENTS, pair.forward(_LATENTS, mu))),
            ("backward B", "w*", lambda mu, verdict: _unbroken(_LATENTS, pair.backward(_LATENTS, mu))),
            ("proximal map P", "w*", lambda mu, verdict: _proximal(verdict)),
            ("transform T", "u = P(w*)", lambda mu, verdict: _transform(verdict)),
            ("regulariser r", "w", lambda mu, verdict: _regularizer(pair, mu)),
        )
        for axis, (title, label, curves) in zip(axes.flat, panels, strict=False):
            _draw_panel(axis, title, label, [curves(mu, v) for mu, v in zip(mus, verdicts, strict=True)])
        legend = axes.flat[-1]
        legend.set_axis_off()
        handles = [
            legend.plot([], [], color=color, linestyle=dash, linewidth=2.5, label=f"mu = {mu:g}")[0]
            for mu, (color, dash) in zip(mus, _STYLES, strict=False)
        ]
        legend.legend(
            handles=handles, loc="center", fontsize=13, frameon=False, title=pair.name, title_fontsize=14
        )


Curve = tuple[Tensor, Tensor]


def _draw_panel(axis: Any, title: str, label: str, curves_by_mu: Sequence[list[Curve]]) -> None:
    axis.set_title(title, fontsize=13)
    axis.set_xlabel(label, fontsize=11, labelpad=1)
    axis.tick_params(labelsize=10)
    axis.axhline(0, color="0.85", linewidth=0.8)
    axis.axvline(0, color="0.85", linewidth=0.8)
    for curves, (color, dash) in zip(curves_by_mu, _STYLES, strict=False):
        for x, y in curves:
            marker = "o" if len(x) == 1 else None
            axis.plot(x, y, color=color, linestyle=dash, linewidth=2.2, marker=marker, markersize=4)
    if not any(curves_by_mu):
        axis.set(xticks=[], yticks=[])
        axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", va="center", fontsize=12)


def _unbroken(x: Tensor, y: Tensor) -> list[Curve]:
    """The curve in parts, so that no line crosses a jump."""
    steps = (y[1:] - y[:-1]).abs()
    usual = steps.median() + (y.max() - y.min()) / 50
    cuts = (steps > 4 * usual).nonzero().flatten() + 1
    bounds = [0, *cuts.tolist(), len(x)]
    return [(x[a:b], y[a:b]) for a, b in pairwise(bounds)]


def _exact_latents(verdict: Verdict) -> Tensor:
    interval = verdict.exact_interval
    if interval is None or interval.low == interval.high:
        return _LATENTS[:0]
    return _LATENTS[_LATENTS.ge(interval.low) & _LATENTS.le(interval.high)]


def _proximal(verdict: Verdict) -> list[Curve]:
    w = _exact_latents(verdict)
    return [] if verdict.P is None or not len(w) else _unbroken(w, verdict.P(w))


def _transform(verdict: Verdict) -> list[Curve]:
    w = _exact_latents(verdict)
    if verdict.P is None or verdict.T is None or not len(w):
        return []
    u = verdict.P(w)
    if u.unique().numel() <= 3:
        return [(level.reshape(1), verdict.T(level.reshape(1))) for level in u.unique()]
    return _unbroken(u, verdict.T(u))


def _regularizer(pair: ForwardBackward, mu: float) -> list[Curve]:
    """The smallest r as a line; dots where the largest one, +inf in the gaps of F's range, is finite too."""
    try:
        smallest = implicit_regularizer(pair, _VALUES, mu)
        largest = implicit_regularizer(pair, _VALUES, mu, gaps="largest")
    except ProxConnectError:
        return []
    inside, finite = torch.isfinite(smallest), torch.isfinite(largest)
    curves = [(_VALUES[inside], smallest[inside])]
    if finite.sum() < inside.sum():
        curves += [
            (x.reshape(1), y.reshape(1)) for x, y in zip(_VALUES[finite], largest[finite], strict=True)
        ]
    return curves
