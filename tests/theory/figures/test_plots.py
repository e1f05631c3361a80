"""Figures of pairs and maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import proxconnect as pc
from proxconnect.quantizers import binary_relax, projector, sign_swish
from proxconnect.theory.figures._panels import Curve, potential_curves, unbroken
from proxconnect.theory.figures.plots import draw_maps, draw_pair


def test_a_figure_of_a_pair(tmp_path: Path) -> None:
    draw_pair(pc.method("reste"), tmp_path / "figure.png", (1.0, 3.0))
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (960, 690)


def test_a_figure_of_maps_has_a_row_for_each(tmp_path: Path) -> None:
    draw_maps({"two": projector(), "three": projector((-1, 0, 1))}, tmp_path / "two.png")
    draw_maps({"": sign_swish}, tmp_path / "one.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "one.png") as one:
        assert two.size == (960, 705)
        assert one.size == (960, 390)


def test_refuses_an_unknown_format_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(pc.ProxConnectError, match=r"unknown ending, expected .*png"):
        draw_maps({"": projector()}, tmp_path / "figure.docx")
    assert not list(tmp_path.iterdir())


def described(curves: list[Curve]) -> list[tuple[float, float, bool]]:
    return [(curve.x[0].item(), curve.x[-1].item(), curve.thin) for curve in curves]


def test_a_jump_is_crossed_by_a_thin_line_alone() -> None:
    x = torch.arange(-256, 257, dtype=torch.float64) / 256
    assert described(unbroken(x, pc.method("bc").forward(x, 1.0))) == [
        (-1, -1 / 256, False),
        (0, 1, False),
        (-1 / 256, 0, True),
    ]


def test_potentials_are_thin_in_gaps_and_absent_where_a_map_falls() -> None:
    assert described(potential_curves(projector(), 1.0, convex=True)) == [
        (-1, -1, False),
        (1, 1, False),
        (-1, 1, True),
    ]
    left, right, gap = described(potential_curves(binary_relax(), 1.0, convex=False))
    assert (left, right) == ((-1.3, -0.5, False), (0.5, 1.3, False))
    assert gap == (-0.5, 0.5, True)
    assert potential_curves(sign_swish, 1.0, convex=True) == []
