"""Activations: near to float64 wherever floats lie, and the same bits from every kernel set."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from looking import every
from torch import Tensor
from torch.nn import functional

import proxconnect as pc
from proxconnect import kernels
from proxconnect.kernels import activate

APPROXIMATE = {"gelu": "none", "gelu_tanh": "tanh"}


def everywhere() -> Tensor:
    """Sample floats of both signs: every 4,099th of all, and dense grids where the functions bend."""
    bits = torch.arange(0, 0x7F800000, 4099, dtype=torch.int32)
    grids = [torch.linspace(-limit, limit, 200_001) for limit in (0.1, 1.0, 6.0, 12.0)]
    beside = [torch.tensor(at).nextafter(torch.tensor(to)) for at in (-5.5, -10.0) for to in (0.0, -20.0)]
    x = torch.cat([bits.view(torch.float32), *grids, torch.stack(beside)])
    return torch.cat([x, -x])


@pytest.mark.parametrize("name", APPROXIMATE)
def test_it_is_near_to_float64(name: str, every_kernel_set: None) -> None:
    x = everywhere()
    found, expected = activate(x, name), functional.gelu(x.double(), approximate=APPROXIMATE[name])
    error = (found.double() - expected).abs()
    assert (error / expected.abs().clamp(min=1))[x >= 0].max() < 3e-7
    assert error[x < 0].max() < 3e-7
    small = x.abs() < 0.5
    assert (error[small] <= 2e-6 * expected[small].abs() + 2e-45).all()


@pytest.mark.parametrize("name", APPROXIMATE)
def test_values_that_are_not_numbers(name: str, every_kernel_set: None) -> None:
    x = torch.tensor([-math.inf, math.inf, math.nan, -0.0, 0.0, -3e38, 3e38])
    expected = torch.tensor([math.nan, math.inf, math.nan, -0.0, 0.0, -0.0, 3e38])
    found = activate(x, name)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit()[3:], expected.signbit()[3:])


@pytest.mark.parametrize("name", APPROXIMATE)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_set_and_number_of_threads_gives_the_same_bits(name: str, threads: int) -> None:
    x = torch.randn(40_003, generator=torch.Generator().manual_seed(0)) * 3
    before, found = kernels.active_kernels(), []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        torch.set_num_threads(threads)
        found.append(activate(x, name))
    kernels.use_kernels(before)
    torch.set_num_threads(1)
    assert every(torch.equal(activate(x, name), other) for other in found)
    for length in range(40):
        assert torch.equal(activate(x[:length], name), found[0][:length])


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 2),
    "with gaps": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1, 0].expand(3, -1),
    "channels_last": lambda x: x.unsqueeze(0).contiguous(memory_format=torch.channels_last),
    "empty": lambda x: x[:0],
    "no dimensions": lambda x: x[0, 0, 0],
}


@pytest.mark.parametrize("arrange", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout(arrange: Callable[[Tensor], Tensor]) -> None:
    x = arrange(torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0)))
    before = x.clone()
    found = activate(x, "gelu")
    assert found.shape == x.shape
    torch.testing.assert_close(found, functional.gelu(x), rtol=1e-6, atol=1e-6)
    assert torch.equal(x, before)
    assert found.stride() == torch.empty_like(x).stride()


@pytest.mark.parametrize(
    ("x", "name", "message"),
    [
        (torch.zeros(2), "glue", "activation"),
        (torch.zeros(2, dtype=torch.float64), "gelu", "float64"),
        (torch.zeros(2, device="meta"), "gelu", "meta"),
        (torch.zeros(2, 2).to_sparse(), "gelu", "dense"),
    ],
)
def test_bad_input_is_refused(x: Tensor, name: str, message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        activate(x, name)
