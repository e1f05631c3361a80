"""The certificate's derived statements, computed literally from their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from literal_rules import pc_strengths
from looking import every, some
from torch import Tensor

import proxconnect as pc
from proxconnect.quantizers import (
    ElementwiseMap,
    ForwardBackward,
    identity,
    linear_quantizer,
    slope_of,
    soft_threshold,
    w_shaped,
)
from proxconnect.theory import Certificate, convex_potential

GENERATOR = torch.Generator().manual_seed(3)
ETAS = [0.3 / math.sqrt(k + 1) for k in range(60)]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def regression(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(60, 20, generator=generator, dtype=torch.float64) / math.sqrt(60)
    planted = torch.randn(20, generator=generator, dtype=torch.float64).sign()
    noise = 0.3 * torch.randn(60, generator=generator, dtype=torch.float64)
    start = 0.25 * torch.randn(20, generator=generator, dtype=torch.float64)
    return features, features @ planted + noise, start


def descend(
    name: str, mu: float, *, seed: int = 0, eta: float = 0.05, steps: int = 300
) -> tuple[Certificate, list[tuple[Tensor, Tensor, Tensor]]]:
    """Plain steps on least squares; every step's latent, gradient and next latent."""
    features, target, w = regression(seed)
    pair, history = pc.method(name), []
    certificate = Certificate(pair)
    for _ in range(steps):
        gradient = features.T @ (features @ pair.forward(w, mu) - target)
        after = w - eta * pair.backward(w, mu) * gradient
        certificate.record(w, gradient, eta, mu, after)
        history.append((w, gradient, after))
        w = after
    return certificate, history


def test_the_identity_holds_for_every_direction() -> None:
    """The identity is algebra: ``h_k`` need not be a gradient of anything."""
    pair, w = pc.method("pc"), normal(9)
    certificate = Certificate(pair)
    for k, eta in enumerate(ETAS):
        h = normal(9)
        certificate.record(w, h, eta, 1 + k, w - eta * h, 2 + k)
        w = w - eta * h
    for u in (torch.zeros(9), torch.ones(9), torch.linspace(-1, 1, 9)):
        reading = certificate.against(u)
        assert reading.gap <= 1e-12
        assert abs(reading.right) > 1e-3


def test_bracket_of_pc_with_its_own_strengths() -> None:
    """``mu_k = 1 + sum eta``: the left side is ``sum eta_k [<u_k - u, h_k> + r(u_k) - r(u)]``."""
    pair = ForwardBackward(soft_threshold, slope_of(identity), "lasso")
    strengths = list(pc_strengths(ETAS))
    certificate, w, u = Certificate(pair), normal(9), normal(9)
    left = 0.0
    for k, eta in enumerate(ETAS):
        h, quantized = normal(9), soft_threshold(w, strengths[k])
        certificate.record(w, h, eta, strengths[k], w - eta * h, strengths[k + 1])
        left += eta * float(((quantized - u) * h).sum() + quantized.abs().sum() - u.abs().sum())
        w = w - eta * h
    reading = certificate.against(u)
    assert reading.holds
    assert reading.left == pytest.approx(left, rel=1e-12)


def test_the_function_of_a_nonconvex_regularizer_does_as_well_but_no_mixture() -> None:
    """``mu_k r + z^2/2``, with ``r = dist(z, Q)``, is not the convex ``R_k`` in gaps; either will do.

    Not so one with the other's constant: then ``R_k(u_k) + R_k*(w*_k)`` is not ``<u_k, w*_k>``.
    """
    prox, one = w_shaped(), slope_of(identity)
    strengths = [0.5 + 0.05 * k for k in range(16)]

    def gap(constant: Callable[[float], float]) -> float:
        def function(z: Tensor, strength: float) -> Tensor:
            return strength * (z.abs() - 1).abs() + z**2 / 2 - constant(strength)

        whole = ElementwiseMap("W", prox.value, prox.slope, prox.pieces, function, prox.conjugate)
        certificate = Certificate(ForwardBackward(whole, one), prox=whole, transform_slope=one)
        generator = torch.Generator().manual_seed(0)
        w = torch.randn(9, generator=generator, dtype=torch.float64)
        for mu, mu_next in pairwise(strengths):
            h = torch.randn(9, generator=generator, dtype=torch.float64)
            certificate.record(w, h, 0.1, mu, w - 0.1 * h, mu_next)
            w = w - 0.1 * h
        return certificate.against(torch.linspace(-0.4, 0.4, 9)).gap

    smallest = lambda strength: 0.5 if strength >= 1 else strength - strength**2 / 2  # noqa: E731
    assert gap(smallest) <= 1e-12
    assert gap(lambda strength: 0.0) > 1e-6


def test_projector_pays_twice_the_latent_at_a_flip() -> None:
    certificate, history = descend("bc", 1.0)
    flips = 0
    for divergence, (w, _, after) in some(zip(certificate.divergences, history, strict=True)):
        flipped = (w >= 0) != (after >= 0)
        assert divergence == pytest.approx(2 * float(after[flipped].abs().sum()), abs=1e-12)
        flips += int(flipped.sum())
    assert flips > 10


@pytest.mark.parametrize(("name", "mu"), [("hardtanh", 3.0), ("pc", 4.0), ("bnn++", 3.0)])
def test_lipschitz_maps_pay_by_the_square(name: str, mu: float) -> None:
    """``phi_{k+1}(u_k) <= (c/2) eta^2 |h|^2``; ``P`` is the identity (c = 1), and of ``pc`` has slope mu."""
    lipschitz = mu if name == "pc" else 1.0
    certificate, history = descend(name, mu)
    for divergence, (w, _, after) in some(zip(certificate.divergences, history, strict=True)):
        assert (
            0 <= divergence + 1e-15 <= lipschitz / 2 * float((w - after).square().sum()) * (1 + 1e-9) + 2e-15
        )


def test_divergences_are_not_negative() -> None:
    potential = convex_potential(linear_quantizer((-1, 0, 1), 0.3, 0.4))
    w, u = normal(200), 2 * torch.rand(200, 1, generator=GENERATOR, dtype=torch.float64) - 1
    assert (potential.R(u) + potential.R_conjugate(w) - u * w >= -1e-14).all()


def literal_residual(
    name: str, mu: float, history: list[tuple[Tensor, Tensor, Tensor]], u: Tensor, eta: float
) -> tuple[float, float]:
    """``sum eta |delta|^2 / sum eta |h|^2`` and ``E(u)``, with one ``b`` per level over all of the run."""
    pair = pc.method(name)
    latents = torch.stack([w for w, _, _ in history])
    gradients = torch.stack([g for _, g, _ in history])
    slopes, levels = pair.backward(latents, mu), pair.forward(latents, mu)
    b = torch.zeros_like(slopes)
    for level in (-1, 1):
        here = levels == level
        weights = eta * gradients[here] ** 2
        b[here] = (weights * slopes[here]).sum() / weights.sum()
    delta = (slopes - b) * gradients
    share = delta.square().sum() / (slopes * gradients).square().sum()
    return float(share), float((eta * (levels - u) * delta).sum())


@pytest.mark.parametrize(
    ("name", "mu"), [("bnn", 1.0), ("bnn+", 5.0), ("poly", 1.0), ("ede", 1.0), ("reste", 2.0)]
)
def test_residual_is_what_its_definition_says(name: str, mu: float) -> None:
    certificate, history = descend(name, mu)
    u = torch.linspace(-1, 1, 20, dtype=torch.float64)
    share, work = literal_residual(name, mu, history, u, 0.05)
    reading = certificate.against(u)
    assert reading.residual == pytest.approx(share, rel=1e-9, abs=1e-12)
    assert reading.delta_work == pytest.approx(work, rel=1e-9, abs=1e-12)
    assert 0 <= reading.residual <= 1
    # E(u) is what separates <u_k - u, h_k> from what a transform with slope b would explain.
    assert reading.bound == pytest.approx(reading.right - work, rel=1e-9)


def test_residuals_seen() -> None:
    """Exact and repaired pairs have none; a sign over a narrow slope is far from any transform."""
    residual = {
        name: descend(name, mu)[0].against().residual
        for name, mu in (("bc", 1.0), ("bnn++", 2.0), ("bnn+", 5.0), ("poly", 1.0))
    }
    assert residual["bc"] == 0
    assert residual["bnn++"] == 0
    assert residual["bnn+"] > 0.3
    assert 0.03 < residual["poly"] < 0.15


def test_bnn_has_no_residual_while_latents_stay_inside() -> None:
    certificate, history = descend("bnn", 1.0, eta=0.01, steps=30)
    assert every(w.abs().max() <= 1 for w, _, _ in history)
    assert certificate.against().residual < 1e-12
    outside, history = descend("bnn", 1.0)
    assert any(w.abs().max() > 1 for w, _, _ in history)
    assert outside.against().residual > 1e-4
