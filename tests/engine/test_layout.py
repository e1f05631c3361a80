"""Images in channels_last inside of a loaded network: the same decisions, outputs as users expect them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.engine import Network
from proxconnect.engine._float_convolution import FloatConvolution
from proxconnect.graph import Node
from proxconnect.graph.operators import resolve
from proxconnect.kernels import pack_pixels
from proxconnect.models.nonlinearity import RPReLU

CONV2D = resolve("aten.conv2d.default")


class Residual(nn.Module):
    """A stem with pooling, and Bi-Real blocks, of which one shortcut is a convolution of floats."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.slope = (
            nn.Conv2d(3, 24, 7, 2, 3, bias=False),
            nn.BatchNorm2d(24),
            RPReLU(24),
        )
        self.convolutions = nn.ModuleList(nn.Conv2d(24, 24, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(24) for _ in range(2))
        self.wide, self.projection = nn.Conv2d(24, 40, 3, 2, 1), nn.Conv2d(24, 40, 1, bias=False)
        self.last, self.head = nn.Conv2d(40, 40, 3, padding=1), nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.slope(self.norm(self.stem(x))), 3, 2, 1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.hardtanh(norm(convolution(x)) + x)
        x = self.wide(x) + self.projection(functional.avg_pool2d(x, 2))
        logits: Tensor = self.head(self.last(x).mean((2, 3)))
        return logits


@pytest.fixture(scope="module", params=["bw", "bwa"])
def networks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Network]:
    """Load a residual network for its kernels, and as the reference."""
    torch.manual_seed(0)
    model = Residual().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    chosen = lambda module, name: name in ("wide", "last") or "convolutions" in name  # noqa: E731
    pc.binarize_(model, pc.BinarizeConfig.from_setting(request.param), chosen)
    path = pc.save(model, tmp_path_factory.mktemp("net") / "m.safetensors", torch.zeros(1, 3, 96, 96))
    return pc.load(path), pc.load(path, kernels="reference")


def packed_signs(net: Network, x: Tensor) -> list[Tensor]:
    """Collect the signs of images that the rewritten graph packs, by themselves or behind a product."""
    found: list[Tensor] = []

    def observe(node: Node, args: Any, result: Any) -> None:
        bits = result[1] if isinstance(result, tuple) else result
        if node.op != "getitem" and bits.dtype == torch.uint8:
            found.append(bits)

    net._fused[net.graph.names].run((x,), net._lookup, observe)
    return found


def reference_signs(net: Network, x: Tensor) -> list[Tensor]:
    """Collect the signs of the graph as it is stored: ``sign(sign(x) + 0.5)``."""
    found: list[Tensor] = []

    def observe(node: Node, args: Any, result: Any) -> None:
        if node.op == "aten.add.Tensor" and isinstance(args[1], float):
            found.append(pack_pixels(result))

    net.observe((x,), observe)
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_every_decision_is_that_of_the_reference(
    networks: tuple[Network, Network], batch: int, threads: int
) -> None:
    net, reference = networks
    x = torch.randn(batch, 3, 96, 96)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = net(x), reference(x)
        signs, wanted = packed_signs(net, x), reference_signs(reference, x)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert len(signs) == len(wanted)
    for one, other in zip(signs, wanted, strict=True):
        assert torch.equal(one, other)


@torch.inference_mode()
def test_images_are_channels_last_behind_the_first_convolution(networks: tuple[Network, Network]) -> None:
    net, _ = networks
    contiguous: list[str] = []
    convolutions = Counter[str]()

    def observe(node: Node, args: Any, result: Any) -> None:
        convolutions[node.op] += 1
        if isinstance(result, Tensor) and result.dtype == torch.float32 and result.ndim == 4:
            last = result.is_contiguous(memory_format=torch.channels_last)
            contiguous.extend([] if last else [node.op])

    net._fused[net.graph.names].run((torch.randn(1, 3, 96, 96),), net._lookup, observe)
    assert convolutions["proxconnect.convolution"] == 2
    assert not contiguous


@torch.inference_mode()
def test_the_memory_format_of_an_input_does_not_matter(networks: tuple[Network, Network]) -> None:
    net, _ = networks
    x = torch.randn(2, 3, 96, 96)
    for other in (x.contiguous(memory_format=torch.channels_last), x.permute(0, 1, 3, 2).contiguous().mT):
        torch.testing.assert_close(net(other), net(x), rtol=1e-4, atol=1e-4)


class Images(nn.Module):
    """Maps images to images."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), last

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        z = self.second(functional.relu(y))
        return y, z.contiguous(memory_format=torch.channels_last) if self.last else z


@pytest.mark.parametrize("last", [False, True])
def test_outputs_have_the_layout_of_torchs_operators(last: bool, tmp_path: Path) -> None:
    model = pc.binarize_(Images(last), pc.BinarizeConfig("bc"), lambda module, name: name == "second")
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 3, 96, 96)))
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        y, z = net(x)
        assert z.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        assert last or y.is_contiguous()
        assert every(
            image.is_contiguous(memory_format=torch.channels_last)
            for image in net(x.mT.contiguous(memory_format=torch.channels_last))
        )


@pytest.mark.parametrize(
    ("images", "weight", "stride"),
    [
        ((1, 3, 96, 96), (16, 3, 7, 7), 2),
        ((1, 3, 32, 32), (16, 3, 3, 3), 1),
        ((3, 64, 28, 28), (64, 64, 3, 3), 1),
    ],
)
@torch.inference_mode()
def test_an_exact_convolution_has_the_bits_of_contiguous_images(
    images: tuple[int, ...], weight: tuple[int, ...], stride: int
) -> None:
    """Take the contiguous form where channels_last adds up in another order, as for 64 channels."""
    x, w, steps = torch.randn(images), torch.randn(weight), ([stride, stride],)
    expected = CONV2D(x, w, None, *steps)
    convolution = FloatConvolution(CONV2D, steps, w)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = convolution(given)
        assert torch.equal(found, expected)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert FloatConvolution(CONV2D, steps, w, channels_last=False)(x).is_contiguous()
    inexact = FloatConvolution(CONV2D, steps, w, exact=False)(x)
    torch.testing.assert_close(inexact, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bfloat16", [False, True])
@torch.inference_mode()
def test_a_convolution_of_patches_is_the_convolution(bfloat16: bool) -> None:
    x, w, b, steps = torch.randn(2, 3, 19, 16), torch.randn(24, 3, 4, 5), torch.randn(24), ([4, 5],)
    given = {"exact": False, "patches": True, "bfloat16": bfloat16}
    rounded = [t.bfloat16().float() if bfloat16 else t for t in (x, w, b)]
    expected = CONV2D(*rounded, *steps)
    for last in (True, False):
        convolution = FloatConvolution(CONV2D, steps, w, b, **given, channels_last=last)
        for images in (x, x.contiguous(memory_format=torch.channels_last)):
            found = convolution(images)
            torch.testing.assert_close(found, expected, rtol=2**-8 if bfloat16 else 1e-5, atol=1e-5)
            form = torch.channels_last if last else torch.contiguous_format
            assert found.is_contiguous(memory_format=form)
    with pytest.raises(RuntimeError, match="Kernel size"):  # of torch
        FloatConvolution(CONV2D, steps, w, b, **given)(x[:, :, :3])


POOLS = [
    lambda x: functional.max_pool2d(x, 3, 2, 1),
    lambda x: functional.max_pool2d(x, (2, 3), dilation=2, ceil_mode=True),
    lambda x: functional.avg_pool2d(x, 3, 2, 1),
    lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    lambda x: functional.avg_pool2d(x, (3, 2), divisor_override=5),
]


@pytest.mark.parametrize("channels", [1, 13, 64])
def test_operators_that_keep_their_bits_in_any_memory_format(channels: int) -> None:
    """A sign may follow these operators, and their images still be channels_last."""
    x = torch.randn(3, channels, 17, 15)
    x.view(-1)[:9] = torch.tensor([0.0, -0.0, torch.nan, torch.inf, -torch.inf, 1e-42, -0.0, 0.0, 3e38])
    numbers = [torch.randn(channels) for _ in range(3)]
    shift, variance = numbers[0].view(-1, 1, 1), torch.rand(channels) + 0.1
    maps = [
        *POOLS,
        lambda x: functional.batch_norm(x, numbers[0], variance, numbers[1], numbers[2]),
        lambda x: functional.prelu(x, numbers[0]),
        functional.relu,
        functional.hardtanh,
        lambda x: x + shift,
        lambda x: x - shift,
        lambda x: x * shift + x / 3,
        lambda x: functional.pad(x, (1, 0, 2, 1)),
        lambda x: torch.cat((x, x), 1),
    ]
    for map_ in maps:
        expected, found = map_(x), map_(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


class Norms(nn.Module):
    """A BatchNorm behind each kind of layer that stays a float layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d, self.norm2d = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv1d, self.norm1d = nn.Conv1d(8, 6, 3), nn.BatchNorm1d(6)
        self.fc, self.norm = nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, affine=False)
        self.binary = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2d(self.conv2d(x)).flatten(2)
        z = self.norm1d(self.conv1d(y)).amax(2)
        return self.binary(self.norm(self.fc(z)))


@pytest.mark.parametrize(("setting", "left"), [("bw", 0), ("bwa", 2)])
def test_norms_of_float_layers_fold_where_no_sign_depends_on_them(
    setting: str, left: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Norms().eval()
    for name, tensor in model.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    pc.binarize_(model, pc.BinarizeConfig.from_setting(setting), lambda module, name: name == "binary")
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(2, 3, 9, 9))
    net, reference = pc.load(path), pc.load(path, kernels="reference")
    operators = Counter(node.op for node in net._fused[net.graph.names].graph.nodes)
    assert operators["aten.batch_norm.default"] == left
    x = torch.randn(5, 3, 9, 9)
    torch.testing.assert_close(net(x), reference(x), rtol=1e-5, atol=1e-5)
