"""The literal step rules behave as the papers say."""

from __future__ import annotations

import literal_rules as rules
import pytest
import torch
from torch import Tensor

from proxconnect.quantizers import linear_quantizer, method, sign, soft_threshold, w_shaped

MATRIX = torch.tensor(
    [[1.0, 0.2, 0.0], [0.0, 0.8, -0.3], [0.5, 0.0, 1.2], [0.1, -0.4, 0.6]], dtype=torch.float64
)
TARGET = MATRIX @ torch.tensor([0.9, -1.1, 0.4], dtype=torch.float64)
START = torch.tensor([0.3, 0.2, -0.6], dtype=torch.float64)


def gradient(w: Tensor) -> Tensor:
    return MATRIX.T @ (MATRIX @ w - TARGET)


def test_fp_descends_to_the_minimum() -> None:
    w = START
    for _ in range(2000):
        w = rules.fp(w, gradient, 0.3)
    torch.testing.assert_close(w, torch.tensor([0.9, -1.1, 0.4], dtype=torch.float64))


def test_pc_with_the_identity_is_fp() -> None:
    pair = method("fp")
    assert torch.equal(
        rules.pc(START, gradient, 0.1, pair.forward, pair.backward, 1.0), rules.fp(START, gradient, 0.1)
    )


def test_bc_is_pc_with_the_sign() -> None:
    pair = method("bc")
    w = START
    for _ in range(20):
        after = rules.pc(w, gradient, 0.1, pair.forward, pair.backward, 1.0)
        torch.testing.assert_close(after, w - 0.1 * gradient(torch.where(w >= 0, 1.0, -1.0).double()))
        w = after


def test_pc_moves_by_b_times_the_gradient_at_the_quantized() -> None:
    """The step is the one that autograd makes through the pair."""
    pair = method("bnn++")
    latent = START.clone().requires_grad_()
    (0.5 * (MATRIX @ pair(latent, 2.0) - TARGET).square().sum()).backward()
    expected = START - 0.1 * latent.grad
    torch.testing.assert_close(rules.pc(START, gradient, 0.1, pair.forward, pair.backward, 2.0), expected)


def test_rpc_steps_from_the_quantized() -> None:
    prox = linear_quantizer((-1, 1))
    after = rules.rpc(START, gradient, 0.1, prox, 4.0)
    torch.testing.assert_close(after, prox(START, 4.0) - 0.1 * gradient(START))
    # The latent itself is forgotten: what has the same image and the same gradient takes the same step.
    constant = torch.ones_like(START)
    steps = [rules.rpc(w, lambda _: constant, 0.1, sign, 1.0) for w in (START, 5 * START)]
    assert torch.equal(*steps)


def test_pq_without_strength_is_plain_descent() -> None:
    torch.testing.assert_close(
        rules.pq(START, gradient, 0.1, w_shaped(), 0.0), rules.fp(START, gradient, 0.1)
    )


def test_pq_multiplies_strength_and_step_size() -> None:
    after = rules.pq(START, gradient, 0.1, soft_threshold, 3.0)
    moved = START - 0.1 * gradient(START)
    torch.testing.assert_close(after, moved.sign() * (moved.abs() - 0.3).clamp(min=0))


def test_pq_with_growing_strength_ends_at_the_levels() -> None:
    w = START
    for step in range(400):
        w = rules.pq(w, gradient, 0.1, w_shaped(), 0.05 * step)
    torch.testing.assert_close(w.abs(), torch.ones_like(w))


def test_strengths_are_partial_sums() -> None:
    assert list(rules.pc_strengths([0.5, 0.25, 2.0])) == pytest.approx([1.0, 1.5, 1.75, 3.75])


def test_pc_with_its_strengths_is_regularized_dual_averaging() -> None:
    """``w*_t`` keeps the sum of gradients and ``w_t`` is the proximal map of ``mu_t r`` there."""
    etas = [0.2 / (k + 1) for k in range(30)]
    w, summed = START, torch.zeros_like(START)
    backward = method("bc").backward
    for eta, mu in zip(etas, rules.pc_strengths(etas), strict=False):
        summed = summed + eta * gradient(soft_threshold(w, 0.1 * mu))
        w = rules.pc(w, gradient, eta, lambda v, mu: soft_threshold(v, 0.1 * mu), backward, mu)
        torch.testing.assert_close(w, START - summed)
