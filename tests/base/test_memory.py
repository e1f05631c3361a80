"""Memory of weights: dense tensors that share regions, disjoint, and as lasting as they are needed."""

from __future__ import annotations

import copy
import gc
import io
import mmap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from looking import every
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import proxconnect as pc
from proxconnect.base import memory
from proxconnect.base.memory import weight_memory

MANY = 2**16  # elements of four bytes that are worth a region


@pytest.fixture(autouse=True)
def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_last", None)


@pytest.mark.parametrize("shape", [(0,), (3,), (2, MANY), (5, 3, MANY // 8 + 1), (memory._REGION // 4 + 1,)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.uint8])
def test_a_tensor_is_dense_and_writable(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = weight_memory(shape, dtype)
    assert (tensor.shape, tensor.dtype, tensor.device.type) == (shape, dtype, "cpu")
    assert tensor.is_contiguous()
    assert tensor.data_ptr() % 64 == 0
    assert every(tensor.fill_(1)[..., -2:].flatten() == 1) if tensor.numel() else True


def test_tensors_do_not_overlap() -> None:
    sizes = [MANY + 13 * n for n in range(200)]  # more than a region

    def filled(n: int) -> torch.Tensor:
        return weight_memory((sizes[n],), torch.int32).fill_(n)

    with ThreadPoolExecutor(4) as threads:
        tensors = list(threads.map(filled, range(len(sizes))))
    assert every(bool((tensor == n).all()) for n, tensor in enumerate(tensors))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no huge pages")
def test_a_region_lasts_as_long_as_its_last_tensor() -> None:
    first, second = (weight_memory((MANY,), torch.int32) for _ in range(2))
    assert 0 < second.data_ptr() - first.data_ptr() <= 4 * MANY + 64
    del first
    gc.collect()
    assert memory._last is not None
    assert memory._last() is not None
    assert every(second.fill_(7) == 7)
    del second
    gc.collect()
    assert memory._last() is None


def test_without_address_space_memory_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: Any, **options: Any) -> Any:
        raise OSError("no address space")

    monkeypatch.setattr(memory, "_Region", none)
    assert every(weight_memory((MANY,), torch.int32).fill_(3) == 3)


def test_a_mode_that_watches_gets_its_own_tensors() -> None:
    with FakeTensorMode():
        assert isinstance(weight_memory((MANY,), torch.int32), FakeTensor)


@pytest.mark.parametrize("levels", [(-1, 1), (-1, 0, 1)])
def test_a_large_packed_layer_computes_copies_and_saves_as_before(levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(1024, 1100)
    config = pc.BinarizeConfig("bc", levels=levels, scale=128)
    hardened = pc.harden_(pc.binarize_(layer, config, filter_fn=lambda module, name: True))
    x, expected = torch.randn(2, 1024), None
    with torch.no_grad():
        expected = hardened(x)
        packed = pc.pack_(hardened)
        copied = copy.deepcopy(packed)
        file = io.BytesIO()
        torch.save(packed.state_dict(), file)
        file.seek(0)
        for bits in (copied.packed.weight, packed.packed.weight):
            assert torch.equal(bits.bits, torch.load(file)["packed.weight.bits"])
            file.seek(0)
        for one in (packed, copied):
            torch.testing.assert_close(one(x), expected, rtol=1e-4, atol=1e-4)
