"""The scan of the dense grid for narrow features, against a block by block reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling._grid import dense_grid, standing_out

BLOCK = 32
EPSILON = float(np.finfo(np.float64).eps)
LINE = Interval(-1e308, 1e308, True, True)


def kept_block_by_block(w: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Keep a block if it bends far more than the calmer side around it, or has both signs or both trends."""
    bends, turns, crosses = [], [], []
    for start in range(0, len(w) - 1, BLOCK):
        x, y = w[start : start + BLOCK + 1], row[start : start + BLOCK + 1]
        inside = y[:-1]
        rounding = 16 * EPSILON * np.abs(inside).max() + 4 * EPSILON
        straight = (y[-1] - y[0]) * ((x[:-1] - x[0]) / (x[-1] - x[0]))
        bend = max(np.abs(inside - y[0] - straight).max() - rounding - 1e-9, 0)
        bends.append(bend / (1e-2 * max(abs(y[0]), abs(y[-1])) + 1))
        steps = np.diff(inside)
        turns.append(steps.min() < -rounding and steps.max() > rounding)
        crosses.append(inside.min() < -rounding and min(y[0], y[-1]) >= 0)
    last = len(bends) - 1
    kept = np.zeros(len(w), dtype=bool)
    kept[::BLOCK] = True
    for k, bend in enumerate(bends):
        before = max(bends[max(k - 3, 0)], bends[max(k - 2, 0)])
        after = max(bends[min(k + 2, last)], bends[min(k + 3, last)])
        usual = 6 * min(before, after)
        if bend > usual + 1e-8 or (turns[k] and bend > usual) or crosses[k]:
            kept[k * BLOCK : (k + 1) * BLOCK] = True
    return w[kept]


@pytest.mark.parametrize("width", [1e-4, 1e-5])
@pytest.mark.parametrize("depth", [-2.0, 1e-3])
def test_a_narrow_feature_is_kept_whole(width: float, depth: float) -> None:
    grid = dense_grid(1.0, LINE)
    middle = int(np.searchsorted(grid, 0.7))
    w = grid[middle - 1500 * BLOCK : middle + 1500 * BLOCK + 1]
    row = np.tanh(w) + depth * np.exp(-(((w - 0.7) / width) ** 2))
    kept = standing_out(w, (row,), np.ones(1), np.array([EPSILON]))
    assert np.array_equal(kept, kept_block_by_block(w, row))
    assert np.isin(w[np.abs(w - 0.7) < width], kept).all()
    assert len(kept) < len(w) / 4


def test_all_functions_count() -> None:
    w = dense_grid(1.0, LINE)[: 300 * BLOCK + 1]
    centre = float(w[150 * BLOCK + 7])
    dip = 1 - np.exp(-(((w - centre) / (1e-4 * abs(centre))) ** 2))
    scales, epsilons = np.ones(2), np.full(2, EPSILON)
    alone = standing_out(w, (dip,), scales[:1], epsilons[:1])
    assert len(alone) > 301
    assert np.array_equal(standing_out(w, (np.ones_like(w), dip), scales, epsilons), alone)


@pytest.mark.parametrize("mu", [1.0, 0.125, 16.0])
def test_the_dense_grid_has_no_gaps(mu: float) -> None:
    grid = dense_grid(mu, LINE)
    assert (np.diff(grid) > 0).all()
    assert len(grid) % BLOCK == 1
    near = grid[np.abs(grid) <= 10 / mu]
    assert (np.diff(near) <= 2.5e-5 * np.maximum(np.abs(near[1:]), 1 / mu)).all()
    assert math.isclose(grid[-1], 1e3 * max(1, 1 / mu), rel_tol=1e-3)
    with pytest.raises(ValueError, match="read-only"):
        grid[0] = 0.0
