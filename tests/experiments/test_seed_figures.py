"""Figures of several seeds show every seed, and the numbers that the tables show."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from drawing import figures_of
from hypothesis import given
from hypothesis import strategies as st
from looking import every

from proxconnect.base.figures import apart
from proxconnect.experiments import Results, _seed_figures, figures
from proxconnect.experiments.figures import FIGURES


@pytest.fixture
def values(results: Results) -> dict[str, Any]:
    """Return the results, with the accuracy of two epochs and statistics in each record."""
    values = results.to_dict()
    for cell in values["cells"].values():
        if cell["status"] == "done":
            packed = cell["record"]["packed"]
            cell["record"]["history"]["val_accuracy"] = [packed / 2, packed]
            if cell["method"] != "fp":
                cell["record"]["history"]["outside_exact"] = [0.0, 1 - packed]
    return values


def test_bands_join_the_seeds_of_a_row_and_name_each_line_at_its_end(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = figures_of(_seed_figures, monkeypatch)
    for name in ("first.svg", "second.svg"):
        FIGURES["bands"].draw(values, tmp_path / name)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    _, axes = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == ["bnn+", "bnn++"]  # one seed of bc has no band
    repaired = axes.lines[1]
    assert list(repaired.get_ydata()) == pytest.approx([43.6, 87.2])
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    spread = 100 * (0.884 - 0.86) / 2**0.5
    assert (band.min(), band.max()) == pytest.approx((43.6 - spread / 2, 87.2 + spread))


def test_differences_are_those_of_the_table_from_the_best_down(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = figures_of(_seed_figures, monkeypatch)
    FIGURES["differences"].draw(values, tmp_path / "differences.png")
    (axes,) = drawn[0].axes
    assert axes.get_title(loc="left") == "1-bit weights, beside bnn+"  # bc has one seed
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bnn++"]
    _, interval, middle = axes.lines
    assert list(middle.get_xdata()) == pytest.approx([6.2])
    assert list(interval.get_xdata()) == pytest.approx([6.2 - 12.706 * 0.2, 6.2 + 12.706 * 0.2], rel=1e-3)


def test_predictors_have_a_point_for_each_run_and_a_rank_correlation(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = figures_of(_seed_figures, monkeypatch)
    FIGURES["predictors"].draw(values, tmp_path / "predictors.png")
    flips, outside, killed, _ = drawn[0].axes
    points = [tuple(point) for method in outside.collections for point in method.get_offsets()]
    seed_0, seed_1 = (85 + 80 + 86) / 3, (82 + 88.4) / 2
    assert sorted(points) == [
        pytest.approx(point)
        for point in [
            (0.116, 88.4 - seed_1),
            (0.14, 86 - seed_0),
            (0.15, 85 - seed_0),
            (0.18, 82 - seed_1),
            (0.2, 80 - seed_0),
        ]
    ]
    assert outside.get_title(loc="left") == "rank correlation -1.00, 5 runs"
    assert flips.get_title(loc="left") == ""  # all flips are equal
    assert sum(len(method.get_offsets()) for method in killed.collections) == 0


def test_flips_are_drawn_for_at_most_six_runs(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = values["tables"][1]
    pattern = values["cells"]["resnet20-bw-ft-bc-s0"]
    for place in range(9):
        name = f"method{place}"
        values["cells"][name] = {
            **pattern,
            "method": name,
            "record": {**pattern["record"], "history": {"flip_rate": [1.0, place / 10]}},
        }
    table["cells"] = [f"method{place}" for place in range(9)]
    drawn = figures_of(figures, monkeypatch)
    FIGURES["flips"].draw(values, tmp_path / "flips.png")
    legend = drawn[0].axes[-1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"method{n}" for n in (0, 2, 3, 5, 6, 8)]


def test_results_of_one_seed_have_no_bands_and_no_differences(values: dict[str, Any]) -> None:
    values["cells"] = {
        name: {**cell, "status": "pending"} if name.endswith("s1") else cell
        for name, cell in values["cells"].items()
    }
    assert not FIGURES["bands"].can_be_drawn(values)
    assert not FIGURES["differences"].can_be_drawn(values)
    assert FIGURES["predictors"].can_be_drawn(values)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(1e-3, 0.2))
def test_labels_are_apart_and_keep_their_order(heights: list[float], distance: float) -> None:
    places = apart(heights, distance)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    gaps = [places[above] - places[below] for below, above in itertools.pairwise(order)]
    assert not gaps or every(gap >= distance - 1e-9 for gap in gaps)
    if all(abs(one - other) >= distance for one, other in itertools.combinations(heights, 2)):
        assert places == pytest.approx(heights)
    assert sum(places) == pytest.approx(sum(heights), abs=1e-6)
