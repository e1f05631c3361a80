"""Draw pairs (F, B, P, T and r) and maps (the map, R and r) at several sharpnesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from proxconnect.base.figures import figure_to
from proxconnect.quantizers import ElementwiseMap, ForwardBackward
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory.criterion.check import check
from proxconnect.theory.criterion.verdict import Verdict
from proxconnect.theory.figures._panels import (
    LATENTS,
    WIDTH,
    Curve,
    draw_panel,
    legend_handles,
    potential_curves,
    unbroken,
)


def draw_pair(pair: ForwardBackward, path: Path, mus: Sequence[float] = (1.0, 3.0, 9.0)) -> None:
    """Draw ``pair`` to an image file, legible at a width of 8 cm and in grey.

    P and T are drawn on the largest exact interval around 0 at each ``mu``. r is drawn where F is monotone.

    Args:
        pair: the pair.
        path: the file to write; its ending chooses the format.
        mus: up to three sharpnesses.

    Raises:
        ProxConnectError: the pair is refused by :func:`proxconnect.check`, or the format is unknown.
    """
    with figure_to(path, size=(WIDTH, 4.6)) as figure:
        verdicts = [check(pair, mu=mu) for mu in mus]
        only_zero = all(str(verdict.exact_interval) == "{0}" for verdict in verdicts)
        unknown = "exact on {0} only" if only_zero else "none"
        panels: tuple[tuple[str, str, Callable[[float, Verdict], list[Curve]], str], ...] = (
            (
                "forward F",
                "w*",
                lambda mu, verdict: unbroken(LATENTS, evaluated(pair.forward, LATENTS, mu)),
                "",
            ),
            (
                "backward B",
                "w*",
                lambda mu, verdict: unbroken(LATENTS, evaluated(pair.backward, LATENTS, mu)),
                "",
            ),
            ("proximal map P", "w*", lambda mu, verdict: _proximal(verdict), unknown),
            ("transform T", "u = P(w*)", lambda mu, verdict: _transform(verdict), unknown),
            (
                "regulariser r",
                "w",
                lambda mu, verdict: potential_curves(pair.forward, mu, convex=False),
                "none: F falls",
            ),
        )
        axes = figure.subplots(2, 3).flat
        for axis, (title, label, curves, none) in zip(axes, panels, strict=False):
            by_mu = [curves(mu, verdict) for mu, verdict in zip(mus, verdicts, strict=True)]
            draw_panel(axis, title, label, by_mu, none)
        axes[-1].set_axis_off()
        axes[-1].legend(
            handles=legend_handles(axes[-1], mus),
            loc="center",
            fontsize=13,
            frameon=False,
            title=pair.name,
            title_fontsize=14,
        )


def draw_maps(maps: Mapping[str, ElementwiseMap], path: Path, mus: Sequence[float] = (1.0, 3.0, 9.0)) -> None:
    """Draw maps to an image file, a row for each: its value, ``R`` and ``r = R - z^2/2``.

    Args:
        maps: a map for each row's label.
        path: the file to write; its ending chooses the format.
        mus: up to three sharpnesses.

    Raises:
        ProxConnectError: the format is unknown.
    """
    with figure_to(path, size=(WIDTH, 0.5 + 2.1 * len(maps))) as figure:
        rows = figure.subplots(len(maps), 3, squeeze=False)
        for row, (label, prox) in zip(rows, maps.items(), strict=True):
            panels = (
                ("map P", "w", [unbroken(LATENTS, evaluated(prox, LATENTS, mu)) for mu in mus]),
                ("potential R", "z", [potential_curves(prox, mu, convex=True) for mu in mus]),
                ("regulariser r", "z", [potential_curves(prox, mu, convex=False) for mu in mus]),
            )
            for axis, (title, argument, curves) in zip(row, panels, strict=True):
                draw_panel(axis, title, argument, curves, "none: it falls")
            row[0].set_ylabel(label, fontsize=12)
        handles = legend_handles(rows[0, 0], mus)
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=12, frameon=False)


def _exact_latents(verdict: Verdict) -> Tensor:
    interval = verdict.exact_interval
    if interval is None or interval.low == interval.high:
        return LATENTS[:0]
    return LATENTS[LATENTS.ge(interval.low) & LATENTS.le(interval.high)]


def _proximal(verdict: Verdict) -> list[Curve]:
    w = _exact_latents(verdict)
    return [] if verdict.P is None or not len(w) else unbroken(w, verdict.P(w))


def _transform(verdict: Verdict) -> list[Curve]:
    w = _exact_latents(verdict)
    if verdict.P is None or verdict.T is None or not len(w):
        return []
    u = verdict.P(w)
    if u.unique().numel() <= 3:
        return [Curve(level.reshape(1), verdict.T(level.reshape(1))) for level in u.unique()]
    return unbroken(u, verdict.T(u))
