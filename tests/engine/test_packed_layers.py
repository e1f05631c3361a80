"""Packed layers compute what hardened ones do, and keep bits and scales whatever is done to the model."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import proxconnect as pc
from proxconnect.engine import PackedLayer, PackedLinear, PackedWeight, unpack_layers_
from proxconnect.errors import ProxConnectError
from proxconnect.format import BinaryTensor, pack_weight
from proxconnect.layers import collect_accumulators


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
def test_a_packed_layer_computes_what_the_hardened_one_does(
    build: Callable[[], nn.Module], shape: tuple[int, ...], scale: str | None, kernels: str
) -> None:
    torch.manual_seed(1)
    layer, x = hardened(build(), scale), torch.randn(shape)
    expected, weight = layer(x), layer.weight.clone()
    packed = pc.pack_(layer, kernels=kernels)
    assert packed is layer
    assert isinstance(packed, PackedLayer)
    assert torch.equal(packed.weight, weight)
    if kernels == "reference":
        assert packed.kernel == "unpacked"
        assert torch.equal(packed(x), expected)
    torch.testing.assert_close(packed(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert packed(x).is_contiguous()


def test_the_signs_of_zeros_are_kept() -> None:
    bits, scale = torch.tensor([[1]], dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.float16)
    for kernels in ("reference", "fast"):
        assert torch.signbit(PackedWeight(bits, scale, BinaryTensor((1, 3)), kernels)()).tolist() == [
            [False, True, True]
        ]


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize(
    ("shape", "group", "transposed"),
    [((5, 3, 7), None, None), ((5, 3, 7), 4, None), ((6, 2, 5), None, 3), ((6, 2, 5), 4, 3)],
)
def test_compiled_code_unpacks_every_form(
    bits: int, shape: tuple[int, ...], group: int | None, transposed: int | None
) -> None:
    torch.manual_seed(3)
    form = BinaryTensor(shape, bits, group, transposed)
    scale = torch.rand(form.rows.scale_shapes[0]).half()
    levels = torch.randint(-1, 2, shape) if bits == 2 else torch.randn(shape).sign()
    weight = levels * form.rows.spread(scale.float())
    packed = pack_weight(weight, form)
    for kernels in ("fast", "reference"):
        assert torch.equal(PackedWeight(packed, scale, form, kernels)(), weight)


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
    torch.testing.assert_close(twin(x), packed(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(copy.deepcopy(packed)(x), packed(x))
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


KERNEL_LAYERS: list[tuple[nn.Module, tuple[int, ...], str]] = [
    (nn.Linear(8, 4), (3, 8), "w1a32"),
    (nn.Conv1d(48, 6, 3, padding="same"), (2, 48, 9), "w1a32"),
    (nn.Conv2d(32, 6, 3, groups=2), (2, 32, 9, 9), "w1a32"),
    (nn.Conv2d(32, 6, 2, padding="same"), (2, 32, 9, 9), "unpacked"),
    (nn.Conv2d(16, 6, 3, padding=1, padding_mode="circular"), (2, 16, 9, 9), "unpacked"),
    (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4), "unpacked"),
    (nn.ConvTranspose2d(2, 3, 2), (2, 2, 4, 4), "unpacked"),
    (nn.Embedding(5, 3), (), "rows"),
    (nn.Embedding(5, 3, max_norm=1.0), (), "unpacked"),
    (nn.modules.linear.NonDynamicallyQuantizableLinear(6, 2), (2, 6), "unpacked"),
]


@pytest.mark.parametrize(("layer", "shape", "kernel"), KERNEL_LAYERS)
def test_the_summary_names_the_kernel_of_each_layer(
    layer: nn.Module, shape: tuple[int, ...], kernel: str
) -> None:
    layer = copy.deepcopy(layer)
    assert [row.kernel for row in pc.summary(hardened(layer)).layers] == ["torch"]
    packed = pc.pack_(layer)
    assert [row.kernel for row in pc.summary(packed).layers] == [kernel]
    narrow_linear = "w1a6" if isinstance(layer, nn.Linear) else "w1a8"
    for activations, name, most in (("int8", "w1a8", 0.05), ("int6", narrow_linear, 0.2)):
        narrow = pc.pack_(unpacked_copy(packed), activations=activations)
        assert narrow.kernel == kernel.replace("w1a32", name)
        if kernel == "w1a32":
            x = torch.randn(shape)
            assert 0 < (narrow(x) - packed(x)).abs().max() < most * packed(x).abs().max()


SMALL: list[tuple[nn.Module, str, str]] = [
    (nn.Conv2d(14, 6, 3), "unpacked", "w1a8"),
    (nn.Conv1d(16, 16, 3), "unpacked", "w1a8"),
    (nn.Conv2d(64, 16, 1), "unpacked", "unpacked"),
    (nn.Conv2d(128, 16, 1), "w1a32", "w1a32"),
    (nn.Conv2d(32, 32, 3, groups=32), "unpacked", "unpacked"),
    (nn.Conv2d(28, 28, 3, groups=7), "unpacked", "unpacked"),
    (nn.Conv2d(3, 4, 7), "unpacked", "unpacked"),
    (nn.Conv2d(8, 8, 13, groups=8), "unpacked", "unpacked"),
]


@pytest.mark.parametrize(("layer", "alone", "quantized"), SMALL)
def test_small_float_convolutions_are_quantized_only_where_that_is_faster(
    layer: nn.Module, alone: str, quantized: str
) -> None:
    packed = pc.pack_(hardened(copy.deepcopy(layer)))
    assert packed.kernel == alone
    for activations in ("int8", "int6"):
        narrow = pc.pack_(unpacked_copy(packed), activations=activations)
        assert narrow.kernel == quantized
        assert [row.kernel for row in pc.summary(narrow).layers] == [quantized]


def unpacked_copy(model: nn.Module) -> nn.Module:
    twin = copy.deepcopy(model)
    unpack_layers_(twin)
    return twin


def binary_input(layer: nn.Module, **values: object) -> nn.Module:
    torch.manual_seed(4)
    config = pc.BinarizeConfig.from_setting(**{"setting": "bwaa", "method": "bc", **values})
    return pc.harden_(pc.binarize_(layer, config, lambda module, name: True)).requires_grad_(False)


@pytest.mark.parametrize(
    "values", [{"setting": "bwa"}, {}, {"overflow": "saturate"}, {"accumulator_bits": 5}]
)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(300, 5), (3, 2, 300)),
        (nn.Conv1d(40, 6, 3, stride=2, padding=2), (2, 40, 9)),
        (nn.Conv2d(40, 6, 3, padding=1, dilation=2, groups=2, bias=False), (2, 40, 9, 9)),
    ],
)
def test_binary_inputs_have_the_bits_of_the_hardened_layer(
    layer: nn.Module, shape: tuple[int, ...], values: dict[str, object]
) -> None:
    hard = binary_input(copy.deepcopy(layer), **values)
    packed = pc.pack_(copy.deepcopy(hard))
    assert packed.kernel == "w1a1"
    x = torch.randn(shape)
    assert torch.equal(packed(x), hard(x))
    assert packed(x).is_contiguous()


def test_accumulators_of_packed_layers_can_be_watched() -> None:
    hard = binary_input(nn.Linear(300, 5))
    packed, x = pc.pack_(copy.deepcopy(hard)), torch.ones(4, 300)
    with collect_accumulators(hard) as expected:
        hard(x)
    with collect_accumulators(packed) as sums:
        assert torch.equal(packed(x), hard(x))
    assert sums.overflow_rates() == expected.overflow_rates()


def test_gradients_halves_and_single_images_use_the_unpacked_weight() -> None:
    layer = hardened(nn.Conv2d(16, 4, 3))
    packed = pc.pack_(copy.deepcopy(layer))
    x = torch.randn(2, 16, 5, 5, requires_grad=True)
    packed(x).sum().backward()
    expected = torch.autograd.grad(layer(x).sum(), x)[0]
    assert torch.equal(x.grad, expected)
    assert torch.equal(packed(x[0].detach()), layer(x[0].detach()))
    assert packed.double().kernel == "unpacked"
    assert packed.float().kernel == "w1a32"


@pytest.mark.parametrize("activations", [None, "int8", "int6"])
@pytest.mark.parametrize("scale", ["channel", 32])
def test_the_short_way_through_a_layer_computes_what_the_long_one_does(
    activations: str | None, scale: str | int
) -> None:
    torch.manual_seed(6)
    packed = pc.pack_(hardened(nn.Linear(64, 20), scale), activations=activations)
    product = packed.packed_forward
    odd = torch.randn(4, 64)
    odd[1, 3], odd[2, 5] = torch.inf, torch.nan
    for x in (torch.randn(64), torch.randn(3, 64), torch.randn(2, 3, 64), odd):
        found, expected = product.at_once(x, packed), product(x, packed)
        if x is odd and activations is not None:  # such inputs are quantized in the long way alone
            assert found is None
            continue
        assert found.shape == (*x.shape[:-1], 20)
        assert torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
    x = torch.randn(3, 64)
    before = packed(x)
    packed.bias = None
    assert product.at_once(x, packed) is None
    assert not torch.equal(packed(x), before)


def test_the_short_way_is_left_to_inputs_that_nobody_watches() -> None:
    packed = pc.pack_(hardened(nn.Linear(64, 20)))
    x = torch.randn(3, 64)

    def short(input: Tensor = x) -> bool:
        return packed.packed_forward.at_once(input, packed) is not None

    assert short()
    packed.bias.requires_grad_()
    assert not short()
    with torch.no_grad():
        assert short()
        assert not short(x.double())
        assert not short(x[:, :8])
        assert not short(torch.randn(64, 3).T)
        assert not short(torch.randn(0, 64))
        assert not short(torch.randn(3, 64, device="meta"))
        assert not short(nn.Parameter(x))
        assert not short(torch.complex(x, x).conj().imag)
        with torch.autocast("cpu"):
            assert not short()
        with FlopCounterMode(display=False):
            assert not short()
        with torch.autograd.forward_ad.dual_level():
            assert not short()
        assert not torch.vmap(lambda row: torch.tensor(float(short(row))))(x).any()
    packed.bias.requires_grad_(False)
    assert not short(x.clone().requires_grad_())


def test_memory_format_follows_the_input() -> None:
    packed = pc.pack_(hardened(nn.Conv2d(16, 4, 3)))
    x = torch.randn(2, 16, 5, 5)
    assert packed(x).is_contiguous()
    last = packed(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, packed(x))


def test_a_packed_layer_follows_its_state_and_its_bias() -> None:
    torch.manual_seed(5)
    one, other = (pc.pack_(hardened(nn.Linear(9, 4))) for _ in range(2))
    x = torch.randn(2, 9)
    twin = copy.deepcopy(one)
    twin.load_state_dict(other.state_dict())
    assert torch.equal(twin(x), other(x))
    assert not torch.equal(one(x), other(x))
    before = one(x)
    one.bias.add_(1)
    torch.testing.assert_close(one(x), before + 1)
    one.bias = nn.Parameter(one.bias + 1, requires_grad=False)
    torch.testing.assert_close(one(x), before + 2)


@pytest.mark.parametrize(
    ("layer", "input", "words"),
    [
        (nn.Linear(8, 4), torch.ones(2, 7), r"shape \(2, 7\); expected .* with 8 inputs"),
        (nn.Linear(8, 4), torch.tensor(1.0), "expected .* with 8 inputs"),
        (nn.Linear(8, 4), torch.ones(2, 8, dtype=torch.float64), "float64 on cpu, but the packed layer"),
        (nn.Linear(8, 4), torch.ones(2, 8, device="meta"), "on meta, but the packed layer"),
        (nn.Conv2d(16, 4, 3), torch.ones(2, 4, 5, 5), "with 16 inputs"),
        (nn.Conv2d(16, 4, 3), torch.ones(2, 1, 16, 5, 5), "with 16 inputs"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(layer: nn.Module, input: Tensor, words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        pc.pack_(hardened(copy.deepcopy(layer)))(input)
    with pytest.raises(ProxConnectError, match="activations must be None, 'int8' or 'int6', not 'int4'"):
        pc.pack_(hardened(copy.deepcopy(layer)), activations="int4")
