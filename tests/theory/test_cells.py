"""Integrals over cells, and their sums."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from proxconnect.theory._cells import integrals, sums_from


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.data())
def test_sums_are_differences_of_running_sums(parts: list[int], data: st.DataObject) -> None:
    origin = data.draw(st.integers(0, len(parts)))
    sums = sums_from(origin, torch.tensor(parts, dtype=torch.float64))
    assert sums.tolist() == [sum(parts[:k]) - sum(parts[:origin]) for k in range(len(parts) + 1)]


def test_small_parts_keep_their_digits_beside_huge_ones() -> None:
    parts = torch.tensor([1e300, 1e-5, 2e-5, 1e300], dtype=torch.float64)
    assert sums_from(2, parts).tolist() == [-1e300, -1e-5, 0.0, 2e-5, 1e300]


def test_polynomials_of_degree_nine_are_integrated_exactly() -> None:
    edges = np.array([-2.0, -0.5, 0.0, 3.0])
    found, spread = integrals(lambda w: 10 * w**9, edges[:-1], np.diff(edges))
    np.testing.assert_allclose(found, np.diff(edges**10), rtol=1e-13)
    assert (spread > 0).all()
    found, spread = integrals(np.ones_like, edges[:-1], np.diff(edges))
    np.testing.assert_allclose(found, np.diff(edges))
    assert not spread.any()
