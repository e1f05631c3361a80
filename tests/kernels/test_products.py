"""Every kernel against its formula, written out in numpy, on every kernel set that runs here."""

from __future__ import annotations

from collections.abc import Callable

import kernel_reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import Array, finished, same, sign, wrapped
from looking import every
from torch import Tensor
from torch.nn import functional

from proxconnect import kernels
from proxconnect.format import BinaryTensor, pack_weight
from proxconnect.kernels import Affine, Panels, Thresholds, pack_signs
from proxconnect.kernels._group_scales import scales_by_panels, scales_by_rows, scales_of_rows

pytestmark = pytest.mark.usefixtures("every_kernel_set")

rows = st.integers(0, 27)
outputs = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 53])
inputs = st.one_of(st.integers(0, 70), st.sampled_from([127, 160, 161, 319, 509, 576, 1031]))
seeds = st.integers(0, 2**31)
drawn = settings(max_examples=40, deadline=None)


class Case:
    """Random operands; ``plain`` leaves residual and PReLU away."""

    def __init__(
        self,
        m: int,
        n: int,
        k: int,
        seed: int,
        *,
        plain: bool = False,
        group: int | None = None,
        ternary: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.x, weight = normal(m, k), normal(n, k)
        self.a, self.weight = pack_signs(self.x), Panels.lay_out(pack_signs(weight), k)
        self.signs, self.w = sign(self.x.numpy()), sign(weight.numpy())
        self.sums = self.signs.astype(np.int32) @ self.w.astype(np.int32).T
        self.scale, self.bias = normal(n), normal(n) * k**0.5
        self.residual = None if plain else normal(m, n)
        slope = None if plain else normal(n) * (torch.arange(n) % 3 > 0)  # a ReLU among them
        self.group = group
        self.scales = self.scale[None] if group is None else normal(max(-(-k // group), 1), n)
        if group is not None and seed % 2:
            self.scales = self.scales.half()
        self.affine = Affine.of(self.scale if group is None else self.scales, self.bias, slope, group)
        if ternary:
            weight *= torch.rand(n, k, generator=generator) < 0.6
            self.w = np.sign(weight.numpy())
            self.weight = Panels.lay_out(pack_weight(weight, BinaryTensor((n, k), bits=2)), k)

    @property
    def operands(self) -> tuple[Array, Array, Array, int]:
        """Inputs, weights, (groups, n) scales and the inputs of a group, as the reference takes them."""
        scales = self.scales.float().numpy()
        return self.x.numpy(), self.w, scales, self.group or max(self.weight.k, 1)

    def finished(self, y: Array) -> Array:
        return finished(y, self.affine.bias, self.residual, self.affine.slope)


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
    result = kernels.w1a1_affine(case.a, case.weight, case.affine, case.residual, wrap=wrap)
    assert same(result, case.finished(sums.astype(np.float32) * case.scale.numpy()))


@drawn
@given(rows, outputs, inputs, st.booleans(), seeds)
def test_w1a1_signs(m: int, n: int, k: int, wrap: bool, seed: int) -> None:
    case = Case(m, n, k, seed)
    sums = wrapped(case.sums) if wrap else case.sums
    decided = torch.from_numpy(sums).float() * case.scale + case.bias
    result = kernels.w1a1_signs(
        case.a, case.weight, Thresholds.of(case.scale, case.bias, k, wrap=wrap), wrap=wrap
    )
    assert torch.equal(result, pack_signs(decided))


@pytest.mark.parametrize("k", [480, 481, 28_801, 70_001])  # beyond what bytes and 16 bits hold
@pytest.mark.parametrize("m", [1, 9])
def test_signs_of_w1a1_that_all_differ(m: int, k: int) -> None:
    weight = Panels.lay_out(pack_signs(torch.ones(33, k)), k)
    differing = kernels.w1a1_sums(pack_signs(-torch.ones(m, k)), weight)
    assert torch.equal(differing, torch.full((m, 33), -k, dtype=torch.int32))
    assert torch.equal(kernels.w1a1_sums(pack_signs(torch.ones(m, k)), weight), -differing)


@settings(max_examples=60, deadline=None)
@given(outputs, inputs, st.booleans(), seeds)
def test_panels_give_the_rows_back_that_they_were_made_of(n: int, k: int, ternary: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(-1, 2, (n, k), generator=generator).float()
    bits = pack_weight(
        levels if ternary else levels.sign() + 0.5, BinaryTensor((n, k), bits=2 if ternary else 1)
    )
    panels = Panels.lay_out(bits, k)
    assert torch.equal(panels.rows(), bits)
    if n:
        index = torch.randint(n, (5,), generator=generator)
        assert torch.equal(panels.rows(index), bits[..., index, :])


@settings(max_examples=30, deadline=None)
@given(outputs, st.integers(1, 9), st.sampled_from([torch.float16, torch.float32, torch.float64]), seeds)
def test_scales_by_panels_are_those_of_the_rows(n: int, groups: int, dtype: torch.dtype, seed: int) -> None:
    scale = torch.randn(n, groups, generator=torch.Generator().manual_seed(seed)).to(dtype)
    panels = scales_by_panels(scale)
    assert panels.dtype == dtype
    assert torch.equal(scales_by_rows(panels, n), scale)
    index = torch.arange(n).flip(0)
    assert torch.equal(scales_of_rows(panels, index), scale[index])


@pytest.mark.parametrize("product", [kernels.w1a8, kernels.w1a32])
def test_scales_of_half_precision_count_as_the_floats_that_they_are(product: Callable[..., Tensor]) -> None:
    x = torch.randn(3, 256)
    weight = Panels.lay_out(pack_signs(torch.randn(40, 256)), 256)
    # Every half that is finite, of both signs, so those below the normal ones too, and infinities.
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    halves = halves[~halves.isnan()]
    for some in functional.pad(halves, (0, -len(halves) % 320)).view(-1, 8, 40)[::9]:
        affine = Affine.of(some, group=32)
        assert affine.scale.dtype == torch.float16
        assert same(product(x, weight, affine), product(x, weight, Affine.of(some.float(), group=32)).numpy())


groups = st.sampled_from([None, 32, 64, 96, 128, 1056])
activation_bits = st.one_of(st.just(8), st.integers(2, 7))
of_floats = settings(max_examples=60, deadline=None)


@of_floats
@given(rows, outputs, inputs, groups, activation_bits, st.booleans(), st.booleans(), seeds)
def test_w1a8(
    m: int, n: int, k: int, group: int | None, bits: int, ternary: bool, plain: bool, seed: int
) -> None:
    case = Case(m, n, k, seed, plain=plain, group=group, ternary=ternary)
    result = kernels.w1a8(case.x, case.weight, case.affine, case.residual, bits=bits)
    y = kernel_reference.w1a8(*case.operands, 2 ** (bits - 1) - 1)
    assert same(result, case.finished(y))


@of_floats
@given(rows, outputs, inputs, groups, st.booleans(), st.booleans(), seeds)
def test_w1a32(m: int, n: int, k: int, group: int | None, ternary: bool, plain: bool, seed: int) -> None:
    case = Case(m, n, k, seed, plain=plain, group=group, ternary=ternary)
    result = kernels.w1a32(case.x, case.weight, case.affine, case.residual)
    assert same(result, case.finished(kernel_reference.w1a32(*case.operands)))


@pytest.mark.parametrize("k", [768, 4096])
def test_w1a32_is_nearer_the_truth_than_a_float32_product(k: int) -> None:
    case = Case(16, 48, k, seed=k)
    result = kernels.w1a32(case.x, case.weight, Affine.of(torch.ones(48)))
    exact = case.x.double() @ torch.from_numpy(case.w).double().T
    plain = case.x @ torch.from_numpy(case.w).T
    assert (result - exact).square().mean() <= (plain - exact).square().mean()


def test_w1a32_lets_infinities_and_nans_through() -> None:
    x = torch.tensor([[1.0, np.inf, -2.0], [1.0, np.inf, -np.inf], [np.nan, 0.0, 0.0]])
    y = kernels.w1a32(
        x, Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0, -1.0]])), 3), Affine.of(torch.ones(1))
    )
    assert y[0].item() == -np.inf
    assert y[1:].isnan().all()


def test_w1a8_of_rows_too_small_to_quantize_is_zero() -> None:
    x = torch.tensor([[0.0, -0.0], [1e-45, -1e-40], [1.0, -1.0]])
    y = kernels.w1a8(x, Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), 2), Affine.of(torch.ones(1)))
    assert y.flatten().tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize("value", [1.0, -1.0])
@pytest.mark.parametrize("m", [1, 3, 9])
@pytest.mark.parametrize("bits", [6, 7, 8])
@pytest.mark.parametrize("k", [9000, 70_000])  # beyond what is spread out at a time, and what is looked up
def test_the_greatest_inputs_of_w1a8_do_not_overflow(value: float, m: int, bits: int, k: int) -> None:
    x = torch.full((m, k), value)
    x[:, ::3] *= -1
    weight = torch.where(torch.arange(k) % 3 == 0, -1.0, 1.0).repeat(2, 1)
    weight[1] *= -1
    y = kernels.w1a8(x, Panels.lay_out(pack_signs(weight), k), Affine.of(torch.ones(2)), bits=bits)
    greatest = 2 ** (bits - 1) - 1
    expected = np.float32(k * greatest) * (np.float32(1) / np.float32(greatest)) * value
    assert same(y, np.array([[expected, -expected]] * m, np.float32))


def results(case: Case) -> list[Tensor]:
    return [
        kernels.w1a1_sums(case.a, case.weight, wrap=True),
        kernels.w1a1_affine(case.a, case.weight, case.affine, case.residual),
        kernels.w1a1_signs(case.a, case.weight, Thresholds.of(case.scale, case.bias, case.weight.k)),
        kernels.w1a8(case.x, case.weight, case.affine, case.residual),
        kernels.w1a32(case.x, case.weight, case.affine, case.residual),
        kernels.pack_signs(case.x),
        kernels.unpack_weights(case.a, torch.tensor(0.5), tuple(case.x.shape)),
    ]


@pytest.mark.parametrize(("m", "n", "k"), [(67, 70, 1001), (2, 1030, 2080), (1200, 33, 130)])
def test_results_do_not_depend_on_the_number_of_threads(m: int, n: int, k: int) -> None:
    case = Case(m, n, k, seed=0)
    torch.set_num_threads(1)
    alone = results(case)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert every(torch.equal(a, b) for a, b in zip(results(case), alone, strict=True))


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
    weight = Panels.lay_out(torch.full((1, k // 8), 255, dtype=torch.uint8), k)
    x = torch.full((1, k), -3.0)
    assert kernels.w1a8(x, weight, Affine.of(torch.ones(1))).item() == pytest.approx(-3.0 * k)
