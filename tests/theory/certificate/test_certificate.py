"""The certificate: its identity, its bound, and its refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.quantizers import (
    ElementwiseMap,
    ForwardBackward,
    binary_relax,
    identity,
    sign,
    sign_swish,
    slope_of,
    tanh,
)
from proxconnect.theory import Certificate, CertificateReading

EXACT = {
    "bc": lambda k: 1.0,
    "fp": lambda k: 1.0,
    "bnn++": lambda k: 1.0 + 0.02 * k,
    "bnn++m": lambda k: 1.0 + 0.02 * k,
    "hardtanh": lambda k: 1.0 + 0.02 * k,
    "poly+": lambda k: 1.0,
    "pc": lambda k: 1.0 + 0.02 * k,
    "binary-relax": lambda k: 0.1 + 0.02 * k,
    "parq": lambda k: 1.0 + 0.02 * k,
}
INEXACT = {"bnn": lambda k: 1.0, "bnn+": lambda k: 5.0, "poly": lambda k: 1.0, "ede": lambda k: 1.0}
ALL = {**EXACT, **INEXACT}


class Problem:
    """A convex loss of twelve weights, with its gradient."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.randn(40, 12, generator=generator, dtype=torch.float64) / math.sqrt(40)
        self.planted = torch.randn(12, generator=generator, dtype=torch.float64).sign()
        self.start = 0.3 * torch.randn(12, generator=generator, dtype=torch.float64)
        noise = 0.1 * torch.randn(40, generator=generator, dtype=torch.float64)
        self.scores = self.features @ self.planted + noise
        self.kind = kind

    def loss(self, w: Tensor) -> Tensor:
        scores = self.features @ w
        if self.kind == "least squares":
            return 0.5 * (scores - self.scores).square().sum()
        return nn.functional.softplus(-scores * self.scores.sign()).sum()

    def gradient(self, w: Tensor) -> Tensor:
        return torch.func.grad(self.loss)(w)


def trained(
    problem: Problem,
    pair: ForwardBackward,
    mu: Callable[[int], float] = lambda k: 1.0,
    *,
    steps: int = 80,
    eta: float = 0.1,
    momentum: float = 0.0,
    **options: object,
) -> Certificate:
    certificate = Certificate(pair, **options)
    w, velocity = problem.start, torch.zeros_like(problem.start)
    for k in range(steps):
        quantized = pair.forward(w, mu(k))
        gradient = problem.gradient(quantized)
        velocity = momentum * velocity + pair.backward(w, mu(k)) * gradient
        after = w - eta * velocity
        certificate.record(w, gradient, eta, mu(k), after, mu(k + 1), float(problem.loss(quantized)))
        w = after
    return certificate


@pytest.mark.parametrize("kind", ["least squares", pytest.param("logistic", marks=pytest.mark.full)])
@pytest.mark.parametrize("name", ALL)
def test_identity(name: str, kind: str) -> None:
    problem = Problem(kind)
    certificate = trained(problem, pc.method(name), ALL[name])
    for u in (problem.planted, torch.zeros(()), None):
        reading = certificate.against(u)
        assert reading.gap <= 1e-12
        assert reading.holds
        assert abs(reading.left) + abs(reading.right) > 1e-3  # both sides are not 0


@pytest.mark.parametrize("kind", ["least squares", "logistic"])
@pytest.mark.parametrize("name", ["fp", "bc", "pc", "binary-relax", "parq"])
def test_suboptimality_stays_below_the_bound(name: str, kind: str) -> None:
    problem = Problem(kind)
    certificate = trained(problem, pc.method(name), ALL[name])
    for u in (problem.planted, -problem.planted, 0.3 * problem.planted):
        reading = certificate.against(u, float(problem.loss(u)))
        assert reading.measured is not None
        assert reading.measured <= reading.bound + 1e-12
        assert math.isfinite(reading.bound)


def test_the_bound_with_a_transform() -> None:
    """The bound holds for the convex ``l o T`` while latents stay on the linear part of hard tanh."""
    problem = Problem("least squares")
    certificate = trained(problem, pc.method("hardtanh"), lambda k: 0.2)
    u = problem.planted  # T(u) = u / 5
    reading = certificate.against(u, float(problem.loss(0.2 * u)))
    assert reading.measured is not None
    assert reading.measured <= reading.bound


@pytest.mark.parametrize("name", EXACT)
def test_exact_pairs_have_no_residual(name: str) -> None:
    problem = Problem("least squares")
    reading = trained(problem, pc.method(name), EXACT[name]).against(problem.planted)
    assert reading.residual == 0
    assert reading.delta_work == 0


def test_momentum_is_reported() -> None:
    problem = Problem("least squares")
    reading = trained(problem, pc.method("bc"), momentum=0.9).against(problem.planted)
    assert not reading.holds
    assert reading.gap > 1e-6
    assert reading.bound == math.inf
    first, distance = reading.other_steps[0]
    assert first == 1  # the first step has no velocity yet
    assert 0.1 < distance < 10
    assert "79 of 80 are not -eta h, first step 1" in str(reading)


def test_a_wrong_potential_breaks_the_identity() -> None:
    wrong = ElementwiseMap(
        "wrong", sign.value, sign.slope, sign.pieces, sign.potential, lambda w, mu: 1.01 * w.abs()
    )
    problem = Problem("least squares")
    certificate = trained(
        problem, pc.method("bc"), prox=wrong, transform_slope=lambda u, mu: torch.ones_like(u)
    )
    reading = certificate.against(problem.planted)
    assert not reading.other_steps
    assert reading.gap > 1e-6
    assert not reading.holds


def test_not_certifiable_where_the_range_shrinks() -> None:
    """Tanh as ``P`` spans ``[-1/mu, 1/mu]`` below ``mu = 1``: its range shrinks as mu grows."""
    pair = ForwardBackward(tanh, slope_of(identity), "shrinking")
    certificate = Certificate(pair)
    w = torch.tensor([8.0, 0.1], dtype=torch.float64)
    for k, (mu, mu_next) in enumerate([(0.5, 0.5), (0.5, 0.9), (0.9, 0.9)]):
        certificate.record(w, torch.zeros_like(w), 0.1, mu, w, mu_next)
        reading = certificate.against(torch.zeros(2))
        assert bool(reading.not_certifiable) == (k >= 1)
    assert reading.not_certifiable[0].startswith("step 1: R_2(u_1) is infinite")
    assert math.isnan(reading.gap)
    assert not reading.holds
    assert "not certifiable at step 1" in str(reading)


def test_not_certifiable_for_a_comparator_out_of_range() -> None:
    problem = Problem("least squares")
    reading = trained(problem, pc.method("bc"), steps=3).against(2 * problem.planted)
    assert reading.not_certifiable[0].startswith("step 0: R_0(u) is infinite")


def test_latent_units() -> None:
    """A run in units of ``s`` is the run of the scaled problem."""
    problem = Problem("least squares")
    pair, s = pc.method("pc"), torch.linspace(0.5, 2, 12, dtype=torch.float64)
    certificate, w = Certificate(pair, scale=s), s * problem.start
    for k in range(100):
        mu, mu_next = 1 + 0.05 * k, 1 + 0.05 * (k + 1)
        gradient = problem.gradient(s * pair.forward(w / s, mu))
        after = w - 0.1 * pair.backward(w / s, mu) * gradient
        loss = float(problem.loss(s * pair.forward(w / s, mu)))
        certificate.record(w, gradient, 0.1, mu, after, mu_next, loss)
        w = after
    reading = certificate.against(problem.planted, float(problem.loss(s * problem.planted)))
    assert reading.holds
    assert reading.measured is not None
    assert reading.measured <= reading.bound


@pytest.mark.parametrize("base", [sign_swish, tanh])
def test_bare_callables_are_decided_numerically(base: ElementwiseMap) -> None:
    """A pair that declares nothing gets the certificate of its declared twin."""
    pair = ForwardBackward(lambda w, mu: base(w, mu), lambda w, mu: base.slope(w, mu))
    problem = Problem("least squares")
    reading = trained(problem, pair, steps=20).against(problem.planted)
    assert reading.gap <= 1e-12
    assert reading.residual < 1e-12


def test_a_user_transform() -> None:
    """``F = T o P`` with ``T = u^3 + u`` and ``P`` the sign: the residual is that of the ``T'`` given."""
    pair = ForwardBackward(
        lambda w, mu: 2 * sign(w, mu), lambda w, mu: torch.full_like(w, 4.0), "cubic over sign"
    )
    problem = Problem("least squares")
    right = trained(problem, pair, prox=sign, transform_slope=lambda u, mu: 3 * u.square() + 1, steps=50)
    wrong = trained(problem, pair, prox=sign, transform_slope=lambda u, mu: 2 * torch.ones_like(u), steps=50)
    assert right.against(problem.planted).residual == 0
    assert wrong.against(problem.planted).residual == pytest.approx(0.25)


def test_float32_latents() -> None:
    problem = Problem("least squares")
    pair, w = pc.method("bnn++"), problem.start.float()
    certificate = Certificate(pair)
    for _ in range(50):
        gradient = problem.gradient(pair.forward(w, 2.0).double()).float()
        before, w = w, w - 0.1 * pair.backward(w, 2.0) * gradient
        certificate.record(before, gradient, 0.1, 2.0, w)
    assert certificate.against().holds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eta": 0.0}, "eta must be a positive finite number, not 0.0"),
        ({"mu": -1.0}, "mu must be a positive finite number, not -1.0"),
        ({"gradient": torch.ones(3)}, "gradient must be a finite float tensor of the latent's shape"),
        ({"latent_after": torch.full((2,), math.nan)}, "latent_after must be a finite"),
    ],
)
def test_refuses_a_bad_record(changes: dict[str, object], message: str) -> None:
    certificate = Certificate(pc.method("bc"))
    step = {"latent": torch.ones(2), "gradient": torch.ones(2), "eta": 1.0, "mu": 1.0}
    with pytest.raises(pc.ProxConnectError, match=message):
        certificate.record(**{**step, "latent_after": torch.zeros(2), **changes})
    assert certificate.steps == 0


def test_refuses_a_broken_chain() -> None:
    certificate = Certificate(pc.method("bc"))
    ones, zeros = torch.ones(2), torch.zeros(2)
    certificate.record(ones, ones, 1.0, 1.0, zeros)
    with pytest.raises(pc.ProxConnectError, match="step 1 must start from the latent and the mu that step 0"):
        certificate.record(ones, ones, 1.0, 1.0, zeros)


def test_refuses_what_it_cannot_read() -> None:
    certificate = Certificate(pc.method("bc"))
    with pytest.raises(pc.ProxConnectError, match="no step yet"):
        certificate.against()
    certificate.record(torch.ones(2), torch.ones(2), 1.0, 1.0, torch.zeros(2))
    with pytest.raises(pc.ProxConnectError, match="not every step was recorded with its loss"):
        certificate.against(loss=0.0)
    with pytest.raises(pc.ProxConnectError, match=r"broadcast to the latent's shape \(2,\)"):
        certificate.against(torch.ones(3))
    with pytest.raises(pc.ProxConnectError, match="give both or none"):
        Certificate(pc.method("bc"), prox=sign)
    with pytest.raises(pc.ProxConnectError, match="scale must be positive"):
        Certificate(pc.method("bc"), scale=0.0)


def network(method: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)
    ).to(dtype)
    pc.binarize_(model, pc.BinarizeConfig(method))
    features = torch.randn(32, 6, dtype=dtype)
    return model, features, features.square().mean(1, keepdim=True)


def run(
    method: str, make: Callable[..., torch.optim.Optimizer], dtype: torch.dtype = torch.float64
) -> CertificateReading:
    model, features, target = network(method, dtype)
    optimizer = make(pc.param_groups(model, lr=0.1))
    schedule = pc.MuSchedule(model, "linear", start=1, end=4, steps=20)
    with Certificate.attach(optimizer, model) as certificate:
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(features), target).backward()
            optimizer.step()
            schedule.step()
    assert list(certificate.layers) == ["2.weight", "4.weight"]
    assert every(layer.steps == 20 for layer in certificate.layers.values())
    return certificate.against()


@pytest.mark.parametrize("method", ["bc", "bnn++", "hardtanh", "pc", "binary-relax", "bnn+"])
def test_attached_to_a_network(method: str) -> None:
    reading = run(method, torch.optim.SGD)
    assert reading.gap <= 1e-12
    assert reading.holds
    assert (reading.residual > 1e-3) == (method == "bnn+")


def test_attached_in_float32() -> None:
    assert run("bnn++", torch.optim.SGD, torch.float32).holds


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.full)])
def test_attached_sees_other_optimizers(dtype: torch.dtype) -> None:
    momentum = run("bc", lambda groups: torch.optim.SGD(groups, momentum=0.9), dtype)
    assert not momentum.holds
    assert momentum.other_steps[0][0] == 1
    assert not run("bc", torch.optim.Adam, dtype).holds
    decay = run("bc", lambda groups: torch.optim.SGD([{**g, "weight_decay": 0.1} for g in groups]), dtype)
    assert decay.other_steps[0][0] == 0


def test_attached_sees_clipping() -> None:
    """Clipping latents is not a step of ProxConnect."""
    model, features, target = network("bc")
    optimizer = torch.optim.SGD(pc.param_groups(model, lr=1.0, latent_clip=1.0))
    pc.clip_latents(optimizer, model)
    with Certificate.attach(optimizer, model) as certificate:
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(features), target).backward()
            optimizer.step()
    assert certificate.against().other_steps
    assert "clipping" in certificate.report()


def test_attach_refuses() -> None:
    model, _, _ = network("bc")
    plain = nn.Linear(2, 2)
    with pytest.raises(pc.ProxConnectError, match="no binarized layer"):
        Certificate.attach(torch.optim.SGD(plain.parameters(), lr=1.0), plain)
    with pytest.raises(pc.ProxConnectError, match=r"does not train the latent of '2\.weight'"):
        Certificate.attach(torch.optim.SGD([model[0].weight], lr=1.0), model)
    optimizer = pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=1.0), model, rule="rpc")
    with pytest.raises(pc.ProxConnectError, match=r"rule 'pc' alone, but '2\.weight' trains under 'rpc'"):
        Certificate.attach(optimizer, model)


def test_a_slope_below_jumps_keeps_the_jumps_in_the_prox() -> None:
    """``B = F'`` almost everywhere makes ``P`` the identity only where F is continuous."""
    relax = binary_relax()
    certificate = Certificate(ForwardBackward(relax, slope_of(relax)))
    step = torch.tensor([0.02], dtype=torch.float64)
    certificate.record(step / 2, step * (1 + 4.0), 1.0, 4.0, -step / 2)
    reading = certificate.against(-step)
    assert reading.gap <= 1e-12
    assert reading.residual < 1e-20
    assert certificate.divergences[0] > 10 * (step**2 / 2).item()  # the divergence if P were the identity
