"""Root mean square normalization: near to float64, the same bits from every kernel set, any layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import proxconnect as pc
from proxconnect import kernels
from proxconnect.kernels import rms_norm


def rows(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape[-1:], generator=generator)


@pytest.mark.parametrize("shape", [(1, 2048), (3, 5, 70), (2, 1), (7,), (40, 1000)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e12])
def test_it_is_near_to_float64(shape: tuple[int, ...], size: float, every_kernel_set: None) -> None:
    x, weight = rows(*shape)
    x = x * size
    expected = functional.rms_norm(x.double(), shape[-1:], weight.double(), 1e-6)
    torch.testing.assert_close(rms_norm(x, weight, 1e-6).double(), expected, rtol=4e-7, atol=0)


def test_every_set_and_number_of_threads_gives_the_same_bits() -> None:
    (x, weight), before, found = rows(300, 333), kernels.active_kernels(), []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(rms_norm(x, weight, 1e-5))
    kernels.use_kernels(before)
    for other in found[1:]:
        assert torch.equal(found[0], other)


def test_any_layout_and_no_rows() -> None:
    x, weight = rows(4, 6, 5)
    expected = rms_norm(x, weight, 0.1)
    assert torch.equal(rms_norm(x.transpose(0, 1), weight, 0.1), expected.transpose(0, 1))
    assert torch.equal(rms_norm(x[:, ::2], weight, 0.1), expected[:, ::2])
    assert torch.equal(rms_norm(x, torch.stack([weight, weight], 1)[:, 0], 0.1), expected)
    assert rms_norm(x[:0], weight, 0.1).shape == (0, 6, 5)


def test_numbers_that_are_not_finite_stay_in_their_row() -> None:
    x, weight = rows(3, 40)
    expected = rms_norm(x, weight, 1e-6)
    x[1, 2], x[2, 3] = torch.nan, torch.inf
    found = rms_norm(x, weight, 1e-6)
    assert torch.equal(found[0], expected[0])
    assert found[1].isnan().all()
    assert found[2, 3].isnan()


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        (torch.zeros(2, dtype=torch.float64), torch.zeros(2), "x is torch.float64"),
        (torch.zeros(2, device="meta"), torch.zeros(2), "on meta"),
        (torch.zeros(2, 3), torch.zeros(2), r"weight is torch.float32 of shape \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.float16), "weight is torch.float16"),
        (torch.zeros(()), torch.zeros(()), r"shape \(\)"),
    ],
)
def test_bad_input_is_refused(x: Tensor, weight: Tensor, message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        rms_norm(x, weight, 1e-6)
