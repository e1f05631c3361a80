"""Packed layers compute what hardened ones do, and keep bits and scales whatever is done to the model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine import PackedLayer, PackedLinear, PackedWeight, unpack_layers_
from proxconnect.errors import ProxConnectError
from proxconnect.format import BinaryTensor


def hardened(layer: nn.Module, scale: str | None = "channel") -> nn.Module:
    config = pc.BinarizeConfig(method="bc", scale=scale)
    return pc.harden_(pc.binarize_(layer, config, filter_fn=lambda module, name: True)).requires_grad_(False)


LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(13, 5), (3, 13)),
    (lambda: nn.Linear(8, 5, bias=False), (3, 2, 8)),
    (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    (lambda: nn.Conv2d(3, 4, 3, padding="same", dilation=2, bias=False), (2, 3, 7, 7)),
    (lambda: nn.Conv2d(4, 4, (1, 3), padding=1, padding_mode="reflect", groups=4), (2, 4, 7, 7)),
    (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    (lambda: nn.modules.linear.NonDynamicallyQuantizableLinear(6, 2), (2, 6)),
]


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("scale", ["channel", "tensor", None])
@pytest.mark.parametrize(("build", "shape"), LAYERS)
def test_a_packed_layer_has_the_bits_of_the_hardened_one(
    build: Callable[[], nn.Module], shape: tuple[int, ...], scale: str | None, kernels: str
) -> None:
    torch.manual_seed(1)
    layer, x = hardened(build(), scale), torch.randn(shape)
    expected, weight = layer(x), layer.weight.clone()
    packed = pc.pack_(layer, kernels=kernels)
    assert packed is layer
    assert isinstance(packed, PackedLayer)
    assert torch.equal(packed.weight, weight)
    assert torch.equal(packed(x), expected)


def test_the_signs_of_zeros_are_kept() -> None:
    bits, scale = torch.tensor([[1]], dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.float16)
    for kernels in ("reference", "fast"):
        assert torch.signbit(PackedWeight(bits, scale, BinaryTensor((1, 3)), kernels)()).tolist() == [
            [False, True, True]
        ]


def test_only_bits_and_scales_are_kept() -> None:
    packed = pc.pack_(hardened(nn.Linear(16, 4)))
    packed(torch.ones(1, 16))
    sizes = {name: tensor.nbytes for name, tensor in packed.state_dict().items()}
    assert sizes == {"bias": 16, "packed.weight.bits": 8, "packed.weight.scale": 8}
    assert [name for name, _ in packed.named_parameters()] == ["bias"]


def test_state_dict_copies_bits_and_scales() -> None:
    torch.manual_seed(2)
    one, other = (pc.pack_(hardened(nn.Linear(9, 4))) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_bits_and_scales_survive_a_change_of_dtype(dtype: torch.dtype) -> None:
    packed = pc.pack_(hardened(nn.Linear(9, 4)))
    before, x = copy.deepcopy(packed), torch.randn(2, 9)
    packed.to(dtype)
    assert packed.weight.dtype == packed.bias.dtype == dtype
    assert packed(x.to(dtype)).dtype == dtype
    assert packed.packed.weight.bits.dtype == torch.uint8
    assert torch.equal(packed.packed.weight.scale, before.packed.weight.scale)
    assert packed.packed.weight.scale.dtype == torch.float16
    assert torch.equal(packed.float().weight, before.weight)


def test_a_copy_and_an_unpacked_copy_agree_and_leave_the_original() -> None:
    packed = pc.pack_(nn.Sequential(hardened(nn.Conv2d(2, 3, 3)), nn.ReLU()))
    twin, x = copy.deepcopy(packed), torch.randn(1, 2, 5, 5)
    unpack_layers_(twin)
    assert type(twin[0]) is nn.Conv2d
    assert torch.equal(twin(x), packed(x))
    assert torch.equal(twin[0].weight_scale, packed[0].packed.weight.scale)


def test_hooks_subclasses_and_isinstance_stay() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    layer = hardened(Doubled(8, 2))
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(1, 8)
    expected = layer(x)
    packed = pc.pack_(layer)
    assert isinstance(packed, Doubled)
    assert torch.equal(packed(x), expected)
    assert len(calls) == 2
    assert isinstance(pc.pack_(hardened(nn.Linear(8, 2))), PackedLinear)


def test_multi_head_attention_reads_the_packed_weight() -> None:
    torch.manual_seed(3)
    model = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    model.out_proj = hardened(model.out_proj)
    x = torch.randn(2, 5, 8)
    expected = model(x, x, x)[0]
    assert torch.equal(pc.pack_(model)(x, x, x)[0], expected)


def test_unknown_kernels_name_the_near_match() -> None:
    with pytest.raises(ProxConnectError, match="unknown kernels 'fats'; did you mean 'fast'"):
        PackedWeight(
            torch.zeros(1, 1, dtype=torch.uint8), torch.ones(1, 1), BinaryTensor((1, 1)), kernels="fats"
        )
