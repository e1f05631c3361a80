"""A NaN or an infinity in an input: every form of a network answers alike, for that sample alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.errors import ProxConnectError


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.first, self.second = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, groups=2)
        self.slope, self.line, self.head = nn.PReLU(16), nn.Conv1d(16, 16, 3), nn.Linear(16 * 7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        x = self.slope(self.second(x + self.first(x).relu()))
        return self.head(self.line(x.flatten(2)).flatten(1))


def perceptron() -> nn.Module:
    hidden = [layer for _ in range(2) for layer in (nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU())]
    return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), *hidden, nn.Linear(32, 3))


MODELS = {"images": (Images, (4, 3, 5, 5)), "perceptron": (perceptron, (4, 16))}
BAD, GOOD = 2, [0, 1, 3]


@pytest.mark.parametrize("every_layer", [False, True])
@pytest.mark.parametrize("setting", ["bw", "bwa", "bwaa"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_form_answers_alike_and_for_that_sample_alone(
    name: str, setting: str, every_layer: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    chosen = (lambda module, name: True) if every_layer else None
    model = pc.binarize_(build(), pc.BinarizeConfig.from_setting(setting), chosen).eval()
    x = torch.randn(shape)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    hardened = pc.harden_(copy.deepcopy(model))
    forms = hardened, pc.load(path, kernels="reference"), pc.load(path), pc.pack_(model)
    for value in (torch.nan, -torch.nan, torch.inf, -torch.inf):
        bad = with_one(value, x)
        expected = hardened(bad)
        if setting == "bw":
            assert not expected[BAD].isfinite().any()
        elif every_layer:
            assert expected[BAD].isfinite().all()  # its sign is taken at once
        for form in forms:
            found = form(bad)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
            assert torch.equal(found[GOOD], form(x)[GOOD])


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_inputs_of_another_layout_device_dtype_or_shape_are_refused(kernels: str) -> None:
    net, x = pc.zoo.load("resnet20-cifar10-bwa", kernels=kernels), torch.zeros(2, 3, 32, 32)
    wrong = [
        (x.to_sparse(), r"input 'images' is sparse_coo; expected a dense tensor: x.to_dense\(\)"),
        (x.to_mkldnn(), "input 'images' is _mkldnn; expected a dense tensor"),
        (x.to("meta"), "input 'images' is on meta and the network on cpu: move one of them"),
        (x.half(), r"must be float32 of shape \[batch, 3, 32, 32\], got float16"),
        (x[:, :2], r"got float32 of shape \[2, 2, 32, 32\]"),
    ]
    for bad, message in wrong:
        with pytest.raises(ProxConnectError, match=message):
            net(bad)


def with_one(value: float, x: Tensor) -> Tensor:
    bad = x.clone()
    bad[BAD].view(-1)[5] = value
    return bad


@pytest.mark.parametrize("activations", ["int8", "int6"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_quantized_activations_answer_with_nan_for_that_sample(
    name: str, activations: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = pc.binarize_(build(), pc.BinarizeConfig("bnn++"), lambda module, name: True).eval()
    x = torch.randn(shape)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    for form in (pc.load(path, activations=activations), pc.pack_(model, activations=activations)):
        for value in (torch.nan, torch.inf):
            found = form(with_one(value, x))
            assert found[BAD].isnan().all()
            assert torch.equal(found[GOOD], form(x)[GOOD])
