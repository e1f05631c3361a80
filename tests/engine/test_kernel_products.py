"""Every kernel against its formula, written out in numpy, on every kernel set that runs here."""

from __future__ import annotations

from collections.abc import Iterator

import kernel_reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import Array, sign, wrapped
from torch import Tensor

from proxconnect.engine import kernels
from proxconnect.engine.kernels import Affine, Panels, Thresholds, pack_signs

rows = st.integers(0, 27)
outputs = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 53])
inputs = st.one_of(st.integers(0, 70), st.sampled_from([127, 160, 161, 319, 509, 576, 1031]))
seeds = st.integers(0, 2**31)
drawn = settings(max_examples=40, deadline=None)


@pytest.fixture(params=kernels.kernel_sets(), autouse=True, scope="module")
def every_kernel_set(request: pytest.FixtureRequest) -> Iterator[None]:
    before = kernels.active_kernels()
    kernels.use_kernels(request.param)
    yield
    kernels.use_kernels(before)


def finished(y: Array, affine: Affine, residual: Tensor | None) -> Array:
    given = (affine.bias, residual, affine.slope)
    return kernel_reference.finished(y, *(part if part is None else part.numpy() for part in given))


def w1a8_reference(x: Array, w: Array, affine: Affine, residual: Tensor | None, group: int) -> Array:
    scale = affine.scale.numpy().reshape(affine.groups, -1)
    return finished(kernel_reference.w1a8(x, w, scale, group), affine, residual)


def w1a32_reference(x: Array, w: Array, affine: Affine, residual: Tensor | None) -> Array:
    return finished(kernel_reference.w1a32(x, w) * affine.scale.numpy(), affine, residual)


class Case:
    """Random operands; ``plain`` leaves residual and PReLU away."""

    def __init__(self, m: int, n: int, k: int, seed: int, *, plain: bool = False, groups: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.x, weight = normal(m, k), normal(n, k)
        self.a, self.weight = pack_signs(self.x), Panels(pack_signs(weight), k)
        self.signs, self.w = sign(self.x.numpy()), sign(weight.numpy())
        self.sums = self.signs.astype(np.int32) @ self.w.astype(np.int32).T
        self.scale, self.bias = normal(n), normal(n) * k**0.5
        self.residual = None if plain else normal(m, n)
        slope = None if plain else normal(n)
        self.affine = Affine(normal(groups, n) if groups else self.scale, self.bias, slope)


def same(result: Tensor, expected: Array) -> bool:
    return result.numpy().dtype == expected.dtype and np.array_equal(result.numpy(), expected)


@drawn
@given(rows, outputs, inputs, st.booleans(), seeds)
def test_w1a1_sums(m: int, n: int, k: int, wrap: bool, seed: int) -> None:
    case = Case(m, n, k, seed)
    expected = wrapped(case.sums) if wrap else case.sums
    assert same(kernels.w1a1_sums(case.a, case.weight, wrap=wrap), expected)


@drawn
@given(rows, outputs, inputs, st.booleans(), st.booleans(), seeds)
def test_w1a1_affine(m: int, n: int, k: int, wrap: bool, plain: bool, seed: int) -> None:
    case = Case(m, n, k, seed, plain=plain)
    sums = wrapped(case.sums) if wrap else case.sums
    expected = finished(sums.astype(np.float32) * case.scale.numpy(), case.affine, case.residual)
    result = kernels.w1a1_affine(case.a, case.weight, case.affine, case.residual, wrap=wrap)
    assert same(result, expected)


@drawn
@given(rows, outputs, inputs, st.booleans(), seeds)
def test_w1a1_signs(m: int, n: int, k: int, wrap: bool, seed: int) -> None:
    case = Case(m, n, k, seed)
    sums = wrapped(case.sums) if wrap else case.sums
    decided = torch.from_numpy(sums).float() * case.scale + case.bias
    result = kernels.w1a1_signs(
        case.a, case.weight, Thresholds(case.scale, case.bias, k, wrap=wrap), wrap=wrap
    )
    assert torch.equal(result, pack_signs(decided))


@drawn
@given(rows, outputs, inputs, st.sampled_from([0, 32, 64, 96]), st.booleans(), seeds)
def test_w1a8(m: int, n: int, k: int, group: int, plain: bool, seed: int) -> None:
    groups = max(-(-k // group), 1) if group else 0
    case = Case(m, n, k, seed, plain=plain, groups=groups)
    result = kernels.w1a8(case.x, case.weight, case.affine, case.residual, group=group or None)
    expected = w1a8_reference(case.x.numpy(), case.w, case.affine, case.residual, group or max(k, 1))
    assert same(result, expected)


@drawn
@given(rows, outputs, inputs, st.booleans(), seeds)
def test_w1a32(m: int, n: int, k: int, plain: bool, seed: int) -> None:
    case = Case(m, n, k, seed, plain=plain)
    result = kernels.w1a32(case.x, case.weight, case.affine, case.residual)
    assert same(result, w1a32_reference(case.x.numpy(), case.w, case.affine, case.residual))


@pytest.mark.parametrize("k", [768, 4096])
def test_w1a32_is_nearer_the_truth_than_a_float32_product(k: int) -> None:
    case = Case(16, 48, k, seed=k)
    result = kernels.w1a32(case.x, case.weight, Affine(torch.ones(48)))
    exact = case.x.double() @ torch.from_numpy(case.w).double().T
    plain = case.x @ torch.from_numpy(case.w).T
    assert (result - exact).square().mean() <= (plain - exact).square().mean()


def test_w1a32_lets_infinities_and_nans_through() -> None:
    x = torch.tensor([[1.0, np.inf, -2.0], [1.0, np.inf, -np.inf], [np.nan, 0.0, 0.0]])
    y = kernels.w1a32(x, Panels(pack_signs(torch.tensor([[1.0, -1.0, -1.0]])), 3), Affine(torch.ones(1)))
    assert y[0].item() == -np.inf
    assert y[1:].isnan().all()


def test_w1a8_of_rows_too_small_to_quantize_is_zero() -> None:
    x = torch.tensor([[0.0, -0.0], [1e-45, -1e-40], [1.0, -1.0]])
    y = kernels.w1a8(x, Panels(pack_signs(torch.tensor([[1.0, -1.0]])), 2), Affine(torch.ones(1)))
    assert y.flatten().tolist() == [0.0, 0.0, 2.0]


def results(case: Case) -> list[Tensor]:
    return [
        kernels.w1a1_sums(case.a, case.weight, wrap=True),
        kernels.w1a1_affine(case.a, case.weight, case.affine, case.residual),
        kernels.w1a1_signs(case.a, case.weight, Thresholds(case.scale, case.bias, case.weight.k)),
        kernels.w1a8(case.x, case.weight, case.affine, case.residual),
        kernels.w1a32(case.x, case.weight, case.affine, case.residual),
        kernels.pack_signs(case.x),
        kernels.unpack_weights(case.a, torch.tensor(0.5), tuple(case.x.shape)),
    ]


@pytest.mark.parametrize(("m", "n", "k"), [(67, 70, 1001), (2, 1030, 2080), (1200, 33, 130)])
def test_results_do_not_depend_on_the_number_of_threads(m: int, n: int, k: int) -> None:
    case = Case(m, n, k, seed=0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = results(case)
        for threads in (2, 3, 7):
            torch.set_num_threads(threads)
            assert all(torch.equal(a, b) for a, b in zip(results(case), alone, strict=True))
    finally:
        torch.set_num_threads(before)


def test_rows_may_lie_apart_and_anywhere() -> None:
    case = Case(5, 20, 70, seed=0)
    wide = torch.full((5, 20), 255, dtype=torch.uint8)
    wide[:, 3:12] = case.a
    assert same(kernels.w1a1_sums(wide[:, 3:12], case.weight), case.sums)
    x = torch.full((5, 99), np.nan)
    x[:, 7:77] = case.x
    for kernel in (kernels.w1a8, kernels.w1a32):
        assert torch.equal(
            kernel(x[:, 7:77], case.weight, case.affine), kernel(case.x, case.weight, case.affine)
        )
    repeated = kernels.w1a1_sums(case.a[:1].expand(3, -1), case.weight)
    assert same(repeated, np.repeat(case.sums[:1], 3, axis=0))


def test_a_sum_of_the_most_inputs_of_w1a8_fits() -> None:
    k = 2**24
    weight = Panels(torch.full((1, k // 8), 255, dtype=torch.uint8), k)
    x = torch.full((1, k), -3.0)
    assert kernels.w1a8(x, weight, Affine(torch.ones(1))).item() == pytest.approx(-3.0 * k)
