"""Sizes that vary: within bounds that the user gives, or that the model has; checked at each call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forward import Forward
from torch import Tensor, nn
from torch.nn import functional as F

import proxconnect as pc
from proxconnect.errors import ExportError, ProxConnectError
from proxconnect.format import SizeRange
from proxconnect.graph import capture
from proxconnect.models import create_model


class Encoder(nn.Module):
    """Words with learned positions, and attention with a mask."""

    def __init__(self, positions: int = 40) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(positions, 16)
        self.register_buffer("order", torch.arange(positions)[None], persistent=False)
        self.first, self.qkv, self.last = nn.Linear(16, 16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.first(self.words(ids) + self.places(self.order[:, : ids.shape[1]]))
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4).unbind(0)
        allowed = None if mask is None else (mask > 0)[:, None, None]
        return self.last(F.scaled_dot_product_attention(q, k, v, allowed).transpose(1, 2).flatten(2))


class Halves(nn.Module):
    """A network with a skip around half the resolution: sizes must be even."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return self.out(torch.cat([x, self.up(self.deep(F.max_pool2d(x, 2)))], 1))


def no_padding() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3))


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
    )


IMAGES = {2: "height", 3: "width"}
IDS = torch.ones(2, 12, dtype=torch.long)


def sizes(model: nn.Module, example: Any, dynamic: Any) -> dict[str, SizeRange]:
    return dict(capture(model.eval(), example, dynamic).graph.sizes)


@pytest.mark.parametrize(
    ("build", "expected"),
    [(no_padding, SizeRange(7)), (pooled, SizeRange(2)), (Halves, SizeRange(2, None, 2))],
)
def test_the_smallest_size_is_found(build: Callable[[], nn.Module], expected: SizeRange) -> None:
    found = sizes(build(), torch.randn(1, 3, 16, 16), IMAGES)
    assert found == {"height": expected, "width": expected}


def test_the_number_of_positions_is_found() -> None:
    assert sizes(Encoder(), (IDS, IDS), {1: "time"}) == {"time": SizeRange(1, 40)}
    assert sizes(Encoder(), IDS, {"ids": {1: ("time", None, 30)}}) == {"time": SizeRange(1, 30)}


def test_bounds_are_those_that_the_user_gives() -> None:
    image, bounds = torch.randn(2, 3, 16, 16), {2: ("height", 12, 20), 3: ["width", 8]}
    assert sizes(pooled(), image, bounds) == {"height": SizeRange(12, 20), "width": SizeRange(8)}
    assert sizes(Halves(), image, bounds)["height"] == SizeRange(12, 20, 2)
    old_form = {0: {2: "h", 3: "h"}}
    assert sizes(no_padding(), image, old_form) == {"h": SizeRange(7)}


REFUSED: list[tuple[nn.Module, Any, str]] = [
    (no_padding(), {2: ("height", 6, 20)}, "height is to begin at 6, but the model takes it from 7"),
    (Forward(lambda x: x + torch.zeros(16)), {3: "width"}, "takes no other width than 16"),
    (Forward(lambda x: x.flatten(1) @ torch.ones(768, 2)), IMAGES, "where height is|takes no other height"),
    (
        Forward(lambda x: x + x.transpose(2, 3)),
        IMAGES,
        "wants height and width to be equal: give them one name",
    ),
    (Forward(lambda x: x * 2 if x.shape[2] > 2 * x.shape[3] else x), IMAGES, "height and width only in some"),
    (pooled(), {2: ("height", 20, 40)}, "the example's height is 16, but height is to be from 20 to 40"),
    (pooled(), {2: ("height", 20, 10)}, "height cannot be from 20 to 10"),
    (pooled(), {2: ("height", 0, 10)}, "height cannot be from 0 to 10"),
    (pooled(), {2: ("height", 1.5)}, "expected a dimension from 1: a name, or a name with the least"),
    (pooled(), {2: ("height", 1, 2, 3)}, "expected a dimension from 1"),
    (pooled(), {4: "depth"}, "expected a dimension from 1"),
    (pooled(), {2: "batch"}, "expected a dimension from 1"),
    (pooled(), {0: {2: ("n", 1, 20), 3: ("n", 1, 30)}}, r"two ranges, \(1, 20\) and \(1, 30\)"),
]


@pytest.mark.parametrize(("model", "dynamic", "message"), REFUSED)
def test_what_cannot_vary_is_refused(model: nn.Module, dynamic: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        capture(model.eval(), torch.randn(2, 3, 16, 16), dynamic)


def test_code_to_which_pytorch_tells_no_sizes_gets_the_way_out() -> None:
    code = compile("found = capture(model, image, {2: 'height'})", "/home/me/torchao-trial/train.py", "exec")
    with pytest.raises(ExportError, match="give the folder of your code or environment another name"):
        exec(code, {"capture": capture, "model": pooled().eval(), "image": torch.randn(2, 3, 16, 16)})


def test_more_positions_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(ExportError, match="time is to end at 64, but the model takes it up to 40"):
        capture(Encoder().eval(), IDS, {1: ("time", 1, 64)})


def test_a_call_is_checked_against_the_bounds_in_the_file(tmp_path: Path) -> None:
    model = pc.binarize_(Halves(), pc.BinarizeConfig("bc"))
    path = pc.save(
        model, tmp_path / "m.safetensors", torch.randn(1, 3, 16, 16), {2: ("height", 8, 32), 3: "width"}
    )
    assert pc.inspect(path).header.graph.sizes == {
        "height": SizeRange(8, 32, 2),
        "width": SizeRange(2, None, 2),
    }
    net = pc.load(path)
    assert net(torch.randn(3, 3, 32, 100)).shape == (3, 2, 32, 100)
    for height, width in ((6, 16), (34, 16), (9, 16), (16, 5)):
        with pytest.raises(
            ProxConnectError,
            match="height from 8 to 32 in steps of 2, width from 2 in steps of 2, got float32",
        ):
            net(torch.randn(1, 3, height, width))


@pytest.mark.parametrize(
    ("name", "options", "others"),
    [
        ("resnet8", {}, [(8, 8), (40, 56), (33, 1)]),
        ("resnet8", {"block": "bireal", "nonlinearity": "rprelu"}, [(24, 40)]),
        pytest.param("resnet56", {}, [(17, 64)], marks=pytest.mark.full),
        pytest.param("resnet18", {}, [(64, 96), (33, 40)], marks=pytest.mark.full),
        pytest.param("resnet50", {}, [(64, 96)], marks=pytest.mark.full),
    ],
)
def test_images_of_any_size(
    name: str, options: dict[str, str], others: list[tuple[int, int]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    setting = "bwa" if options else "bw"
    model = create_model(name, classes=10, channels=3, image_size=32, **options)
    pc.binarize_(model, pc.BinarizeConfig.from_setting(setting)).eval()
    size = 64 if name in ("resnet18", "resnet50") else 32
    path = pc.save(model, tmp_path / "m.safetensors", torch.randn(1, 3, size, size), IMAGES)
    hard, exact, fast = pc.harden_(model), pc.load(path, kernels="reference"), pc.load(path)
    for height, width in others:
        x = torch.randn(2, 3, height, width)
        with torch.no_grad():
            expected = hard(x)
        assert torch.equal(exact(x), expected)
        torch.testing.assert_close(fast(x), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_a_vision_transformer_takes_images_of_as_many_patches_as_it_has_positions() -> None:
    model = create_model("vit-mini", classes=4, channels=3, image_size=16)
    found = sizes(model, torch.randn(1, 3, 16, 16), {2: "height"})
    assert found == {"height": SizeRange(16, 19)}


def test_sequences_of_any_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pc.binarize_(Encoder(), pc.BinarizeConfig("bnn++")).eval()
    path = pc.save(model, tmp_path / "m.safetensors", {"ids": IDS, "mask": IDS}, {1: "time"})
    hard, exact, fast = pc.harden_(model), pc.load(path, kernels="reference"), pc.load(path)
    for length in (1, 7, 40):
        ids, mask = torch.randint(50, (3, length)), torch.ones(3, length, dtype=torch.long)
        mask[:, length // 2 + 1 :] = 0
        for given in ({"ids": ids}, {"ids": ids, "mask": mask}):
            with torch.no_grad():
                expected = hard(**given)
            assert torch.equal(exact(given), expected)
            torch.testing.assert_close(
                fast(**given), expected, rtol=0, atol=1e-5 * expected.abs().max().item()
            )
    with pytest.raises(
        ProxConnectError, match=r"'ids' must be int64 of shape \[batch, time\], time from 1 to 40, got"
    ):
        fast(torch.ones(1, 41, dtype=torch.long))


def test_features_of_one_pixel_do_not_end_the_sizes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1))
    assert sizes(model, torch.randn(1, 3, 4, 4), IMAGES) == {}


def test_the_smallest_sizes_are_those_that_go_together() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.InstanceNorm2d(4))
    found = sizes(model, torch.randn(1, 3, 8, 8), IMAGES)
    assert found == {"height": SizeRange(2), "width": SizeRange(2)}
