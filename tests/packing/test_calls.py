"""Networks are called by place, by name or with a dict, and answer in the structure that the model gave."""

from __future__ import annotations

import collections
import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.errors import ExportError, ProxConnectError

Output = collections.namedtuple("Output", "logits hidden")


class Net(nn.Module):
    """Three inputs, two of which may be left out, and one that goes by name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        scale: Tensor | None = None,
    ) -> Output:
        z = self.b(self.a(x))
        z = z if mask is None else z * mask
        z = z if bias is None else z + bias - torch.tensor([0.5])
        z = z if scale is None else z * scale
        return Output(self.c(z), z)


def binarized(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return pc.binarize_(model, pc.BinarizeConfig("bnn++")).eval()


def named(n: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(n)
    shapes = {"x": 8, "mask": 16, "bias": 16, "scale": 16}
    return {name: torch.rand(n, size, generator=generator) for name, size in shapes.items()}


@pytest.fixture(scope="module")
def net_and_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[pc.engine.Network, nn.Module]:
    model, given = binarized(Net()), named(2)
    path = tmp_path_factory.mktemp("net") / "m.safetensors"
    pc.save(model, path, dict(reversed(given.items())))
    return pc.load(path, kernels="reference"), pc.harden_(copy.deepcopy(model)).requires_grad_(False)


def test_inputs_go_by_place_by_name_and_as_a_dict(net_and_model: Any) -> None:
    net, model = net_and_model
    for n in (1, 3):
        given = named(n)
        x, mask, bias, scale = given.values()
        expected = model(**given).logits
        assert torch.equal(net(x, mask, bias, scale=scale).logits, expected)
        assert torch.equal(net(x, mask, scale=scale, bias=bias)[0], expected)
        assert torch.equal(net(**given).logits, expected)
        assert torch.equal(net(given).logits, expected)
        assert torch.equal(net(collections.UserDict(given)).logits, expected)


@pytest.mark.parametrize("names", ["x", "x mask", "x bias", "x scale", "x mask bias", "x bias scale"])
def test_inputs_that_the_model_does_without_may_be_left_out(names: str, net_and_model: Any) -> None:
    net, model = net_and_model
    given = {name: tensor for name, tensor in named(3).items() if name in names.split()}
    expected = model(**given)
    assert torch.equal(net(**given).logits, expected.logits)
    assert torch.equal(net({**dict.fromkeys(named(1)), **given}).hidden, expected.hidden)


def test_fast_kernels_run_every_variant(tmp_path: Path) -> None:
    model, given = binarized(Net()), named(3)
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", (given["x"], given["mask"])))
    assert net.kernels == {"b.weight": "w1a32"}
    for inputs in ((given["x"],), (given["x"], given["mask"])):
        expected = pc.harden_(copy.deepcopy(model))(*inputs).logits
        for form in (net, copy.deepcopy(net)):
            torch.testing.assert_close(
                form(*inputs).logits, expected, rtol=0, atol=1e-5 * expected.abs().max().item()
            )


@pytest.mark.parametrize(
    ("inputs", "names", "message"),
    [
        ((), {}, r"takes 4 inputs \(x, mask, bias, scale\), got 0; or only \(x"),
        ((), {"mask": 1}, r"got 1 \(mask\)"),
        ((1, 1, 1, 1), {}, "got 4 by place"),
        ((1,), {"x": 1}, "got 'x' twice"),
        ((1,), {"labels": 1}, "and none that is called 'labels'"),
        (({"x": 1, "y": 2},), {}, "and none that is called 'y'"),
        ((3,), {}, r"input 'x' must be a tensor, float32 of shape \[batch, 8\], not int"),
    ],
)
def test_a_call_that_fits_no_graph_is_refused(
    inputs: Any, names: Any, message: str, net_and_model: Any
) -> None:
    with pytest.raises(ProxConnectError, match=message):
        net_and_model[0](*inputs, **names)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"y": torch.ones(2, 8)}, "the forward has no input 'y'; its inputs are x, mask, bias, scale"),
        ((torch.ones(2, 8),) * 5, "example_inputs has 5 inputs, but the forward takes 3"),
        ({}, "one tensor, a tuple of tensors, or a dict"),
        ({"x": None}, "one tensor, a tuple of tensors, or a dict"),
    ],
)
def test_examples_that_are_no_inputs_are_refused(example: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        pc.save(binarized(Net()), tmp_path / "m.safetensors", example)
    assert not list(tmp_path.iterdir())


def test_an_example_may_leave_inputs_out(tmp_path: Path) -> None:
    given, model = named(2), binarized(Net())
    path = pc.save(model, tmp_path / "m.safetensors", (given["x"], None, given["bias"]))
    net = pc.load(path, kernels="reference")
    expected = pc.harden_(model)(given["x"], bias=given["bias"]).logits
    assert torch.equal(net(given["x"], bias=given["bias"]).logits, expected)
    with pytest.raises(ProxConnectError, match="got 2 by place"):
        net(given["x"], given["bias"])


def test_a_network_of_many_optional_inputs_takes_all_of_them(tmp_path: Path) -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))

        def forward(self, x: Tensor, **more: Tensor) -> Tensor:
            return self.layers(x) + sum(more.values())

    inputs = {name: torch.ones(1, 4) for name in "xabcd"}
    net = pc.load(pc.save(binarized(Many()), tmp_path / "m.safetensors", inputs))
    assert net(**inputs).shape == (1, 4)
    with pytest.raises(ProxConnectError, match=r"takes 5 inputs \(x, a, b, c, d\), got 1 \(x\)$"):
        net(inputs["x"])


@dataclasses.dataclass
class Answer:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    note: None = None


class Cache:
    """Keys and values of an attention."""


class Returning(nn.Sequential):
    def __init__(self, output: Any) -> None:
        super().__init__(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(super().forward(x))


def test_a_named_tuple_comes_back_with_its_names(tmp_path: Path) -> None:
    model = binarized(Returning(lambda y: {"out": Output(y, [Output(y + 1, None)])}))
    out = pc.load(pc.save(model, tmp_path / "m.safetensors", torch.ones(1, 4)))(torch.ones(2, 4))["out"]
    assert (type(out).__name__, out._fields, type(out.hidden)) == ("Output", ("logits", "hidden"), list)
    assert type(out) is not Output
    assert torch.equal(out.hidden[0].logits, out[0] + 1)
    assert out.hidden[0].hidden is None


def test_a_dataclass_comes_back_as_a_dict(tmp_path: Path) -> None:
    model = binarized(Returning(lambda y: Answer(y, (y * 2,))))
    out = pc.load(pc.save(model, tmp_path / "m.safetensors", torch.ones(1, 4)))(torch.ones(2, 4))
    assert list(out) == ["logits", "hidden", "note"]
    assert torch.equal(out["hidden"][0], out["logits"] * 2)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            lambda y: Output(y, [Cache()]),
            r"its output\[1\]\[0\] is a Cache, .*set model.config.use_cache = False",
        ),
        (lambda y: {"past": Cache()}, "its output.past is a Cache"),
        (lambda y: (y, "text"), r"its output\[1\] is a str"),
    ],
)
def test_an_output_that_a_file_cannot_hold_is_refused(output: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        pc.save(binarized(Returning(output)), tmp_path / "m.safetensors", torch.ones(1, 4))
