"""Chains of elementwise steps: on every kernel set the bits of the operators that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import chained
from torch import Tensor

from proxconnect import kernels
from proxconnect.errors import ProxConnectError
from proxconnect.kernels import Chain, ConvPanels, Geometry, Outputs, Panels, Step, pack_pixels, pack_signs
from proxconnect.kernels._chains import STEPS

pytestmark = pytest.mark.usefixtures("every_kernel_set")

KINDS = tuple(STEPS)
SPECIAL = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, -0.0])
drawn = settings(max_examples=20, deadline=None)
steps_of_chains = st.lists(st.sampled_from(KINDS), max_size=7)
seeds = st.integers(0, 2**31)


class Case:
    """Steps of these kinds with random constants, and a residual if one adds it."""

    def __init__(self, kinds: list[str], m: int, n: int, seed: int) -> None:
        self.generator, self.n = torch.Generator().manual_seed(seed), n
        numbers = {"multiply_add": 2, "add_residual": 0}
        self.steps = [
            Step(kind, tuple(self.floats(n) for _ in range(numbers.get(kind, 1)))) for kind in kinds
        ]
        self.residual = self.floats(m, n) if "add_residual" in kinds else None

    def floats(self, *shape: int) -> Tensor:
        """Draw floats, infinities, NaN and zeros of both signs among them."""
        values = torch.randn(shape, generator=self.generator)
        special = SPECIAL[torch.randint(len(SPECIAL), shape, generator=self.generator)]
        return torch.where(torch.rand(shape, generator=self.generator) < 0.05, special, values)

    def expected(self, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Compute floats and signs of these floats, step by step."""
        steps = [(kind, [values.numpy() for values in constants]) for kind, constants in self.steps]
        residual = None if self.residual is None else self.residual.reshape(y.shape).numpy()
        floats = chained(y.numpy(), steps, residual)
        return floats, np.packbits(~(floats < 0), axis=-1, bitorder="little")

    def check(self, run: Callable[[Chain], Outputs], y: Tensor) -> None:
        """Compare both outputs, each of them alone and together."""
        floats, signs = self.expected(y)
        for wanted in ((True, False), (False, True), (True, True)):
            found = run(Chain.of(self.steps, self.n, floats=wanted[0], signs=wanted[1]))
            assert [output is not None for output in found] == list(wanted)
            if found.floats is not None:
                same_bits(found.floats.reshape(y.shape), torch.from_numpy(floats))
            if found.signs is not None:
                assert np.array_equal(found.signs.numpy().reshape(signs.shape), signs)


def same_bits(found: Tensor, expected: Tensor) -> None:
    """Compare bit for bit; one NaN is as good as another."""
    assert torch.equal(found.isnan(), expected.isnan())
    there = ~found.isnan()
    assert torch.equal(found[there].view(torch.int32), expected[there].view(torch.int32))


@drawn
@given(steps_of_chains, st.integers(0, 11), st.sampled_from([0, 1, 7, 8, 9, 15, 16, 17, 33, 40]), seeds)
def test_chains_of_rows(kinds: list[str], m: int, n: int, seed: int) -> None:
    case = Case(kinds, m, n, seed)
    wide = case.floats(m, n + 3)
    x = wide[:, 2 : n + 2]
    case.check(lambda chain: kernels.chain_rows(x, chain, case.residual), x)


@drawn
@given(steps_of_chains, st.integers(1, 19), st.sampled_from([1, 8, 9, 16, 17, 33]), st.booleans(), seeds)
def test_chains_of_products(kinds: list[str], m: int, n: int, wrap: bool, seed: int) -> None:
    case = Case(kinds, m, n, seed)
    a, weight = pack_signs(case.floats(m, 147)), Panels.lay_out(pack_signs(case.floats(n, 147)), 147)
    sums = kernels.w1a1_sums(a, weight, wrap=wrap).float()
    case.check(lambda chain: kernels.w1a1_chain(a, weight, chain, case.residual, wrap=wrap), sums)


@drawn
@given(
    steps_of_chains,
    st.sampled_from([(16, 1), (24, 3), (17, 1), (12, 2), (6, 2)]),  # of some, groups begin within a byte
    st.sampled_from([Geometry(padding=(1, 1)), Geometry((2, 1), (0, 2), fill=-1)]),
    seeds,
)
def test_chains_of_convolutions(kinds: list[str], sizes: tuple[int, int], at: Geometry, seed: int) -> None:
    n, groups = sizes
    images = pack_pixels(Case([], 1, 1, seed).floats(2, 6, 5, 7))
    weight = ConvPanels.lay_out(pack_signs(torch.randn(n, 6 // groups * 9)), (n, 6 // groups, 3, 3), groups)
    sums = kernels.w1a1_conv_sums(images, weight, at).float()
    case = Case(kinds, sums[..., 0].numel(), n, seed)
    residual = None if case.residual is None else case.residual.reshape(sums.shape)
    run = lambda chain: kernels.w1a1_conv_chain(images, weight, at, chain, residual)  # noqa: E731
    case.check(run, sums.reshape(-1, n))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    case = Case([*KINDS], 3000, 70, seed=0)
    x, chain = case.floats(3000, 70), Chain.of(case.steps, 70, signs=True)
    a, weight = pack_signs(x), Panels.lay_out(pack_signs(case.floats(70, 70)), 70)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(
            (
                *kernels.chain_rows(x, chain, case.residual),
                *kernels.w1a1_chain(a, weight, chain, case.residual),
            )
        )
    for alone, shared in zip(*results, strict=True):
        assert torch.equal(alone.nan_to_num(), shared.nan_to_num())


ONE = Chain.of([Step("add", (torch.ones(2),))], 2)
ADDS = Chain.of([Step("add_residual")], 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Chain.of([Step("ad")], 2), "unknown step 'ad'.*'add'"),
        (lambda: Chain.of([Step("add")], 2), "step 'add' has 0 constants; expected 1"),
        (lambda: Chain.of([Step("prelu", (torch.ones(3),))], 2), r"a constant of 'prelu'.*expected \(2,\)"),
        (lambda: Chain.of([], 2, floats=False), "neither floats nor signs"),
        (lambda: Chain.over([99], torch.ones(1, 2)), r"steps \[99\] hold a number beyond"),
        (lambda: Chain.over([0, 1], torch.ones(1, 2)), r"constants has shape \(1, 2\); expected \(2, 2\)"),
        (lambda: kernels.chain_rows(torch.ones(3, 5), ONE), "chain has constants for 2 outputs; expected 5"),
        (lambda: kernels.chain_rows(torch.ones(3, 2).double(), ONE), "x is a torch.float64"),
        (lambda: kernels.chain_rows(torch.ones(3, 2), ADDS), "adds a residual, and none is given"),
        (
            lambda: kernels.chain_rows(torch.ones(3, 2), ONE, torch.ones(3, 2)),
            "no step of the chain adds one",
        ),
        (
            lambda: kernels.chain_rows(torch.ones(3, 2), ADDS, torch.ones(2, 2)),
            r"residual.*expected \(3, 2\)",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        call()
