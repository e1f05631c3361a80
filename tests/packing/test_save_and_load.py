"""Saving and loading: the loaded network answers as the hardened model, and bad input is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.errors import ExportError, FormatError, ProxConnectError
from proxconnect.layers import binarization_of

PREPROCESSING = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 8, 3, padding="same", bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 8),
        nn.Hardtanh(),
        nn.Linear(8, 4),
    )


class Tokens(nn.Module):
    """Two blocks of attention over embeddings, whose output layer is tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return {"logits": self.head(x), "last": x[:, -1]}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.mix = nn.Linear(8, 8)
        self.lstm = nn.LSTM(8, 4, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(self.mix(self.first(x)))[0])


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(x) if self.one(x).sum() > 0 else x)


def image_batch(n: int) -> Tensor:
    return torch.randn(n, 3, 8, 8)


CASES: list[tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = [
    (images, image_batch),
    (Tokens, lambda n: torch.randint(11, (n, 5))),
    (Recurrent, lambda n: torch.randn(n, 5, 3)),
]


def binarized(build: Callable[[], nn.Module] = images, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    return pc.binarize_(build(), pc.BinarizeConfig(**config))


def hardened_like(build: Callable[[], nn.Module], **config: Any) -> nn.Module:
    return pc.harden_(binarized(build, **config)).eval().requires_grad_(False)


def leaves(output: Any) -> list[Tensor]:
    return list(output.values()) if isinstance(output, dict) else [output]


@pytest.fixture
def no_fused_attention() -> Any:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.usefixtures("no_fused_attention")
@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize(("build", "batch"), CASES)
def test_a_loaded_network_answers_as_the_hardened_model(
    build: Callable[[], nn.Module], batch: Callable[[int], Tensor], kernels: str, tmp_path: Path
) -> None:
    hard = hardened_like(build)
    path = pc.save(binarized(build), tmp_path / "m.safetensors", batch(1))
    net = pc.load(path, kernels=kernels)
    assert not net.training
    for n in (1, 2, 7):
        x = batch(n)
        for a, b in zip(leaves(hard(x)), leaves(net(x)), strict=True):
            bound = 0.0 if kernels == "reference" else 1e-5 * a.abs().max().item()
            torch.testing.assert_close(b, a, rtol=0, atol=bound)
    x = batch(3)
    assert torch.equal(leaves(copy.deepcopy(net)(x))[0], leaves(net(x))[0])
    assert every(p.numel() > 0 or not p.dtype.is_floating_point for p in net.parameters())


@pytest.mark.parametrize("scale", ["channel", "tensor", None])
@pytest.mark.parametrize("scale_dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_kind_of_scale_is_kept(scale: str | None, scale_dtype: torch.dtype, tmp_path: Path) -> None:
    config = {"method": "bc", "scale": scale, "scale_dtype": scale_dtype}
    net = pc.load(
        pc.save(binarized(**config), tmp_path / "m.safetensors", image_batch(2)), kernels="reference"
    )
    x = image_batch(2)
    assert torch.equal(net(x), hardened_like(images, **config)(x))


def test_saving_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = binarized().train()
    before = copy.deepcopy(model.state_dict())
    pc.save(model, tmp_path / "m.safetensors", image_batch(1))
    assert model.training
    assert model.state_dict().keys() == before.keys()
    assert same_tensors(model.state_dict(), before)
    model(image_batch(2)).sum().backward()
    assert model[3].parametrizations.weight.original.grad is not None


def test_binarized_hardened_and_packed_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for i, model in enumerate((binarized(), hardened_like(images), pc.pack_(binarized()))):
        files.append(pc.save(model, tmp_path / f"{i}.safetensors", image_batch(1)).read_bytes())
    assert files[0] == files[1] == files[2]


def test_what_is_said_about_the_model_is_kept(tmp_path: Path) -> None:
    path = pc.save(
        binarized(method="bnn+"),
        tmp_path / "m.safetensors",
        image_batch(1),
        classes=["a", "b", "c", "d"],
        preprocessing=pc.Preprocessing(size=(8, 8), mean=(0.5,), std=(0.25,), mode="L"),
        metrics={"accuracy": 0.5},
    )
    net = pc.load(path)
    assert net.classes == ("a", "b", "c", "d")
    assert net.preprocessing == PREPROCESSING
    assert net.metrics == {"accuracy": 0.5}
    assert (net.header.method, net.header.setting, net.header.library) == ("bnn+", "bw", pc.__version__)
    assert pc.inspect(path).header == net.header


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"preprocessing": {"whatever": 1}},
            "preprocessing is .*; expected a mapping with the keys mode, size",
        ),
        ({"preprocessing": 3}, "preprocessing is 3; expected a mapping"),
        ({"preprocessing": {**PREPROCESSING, "size": [0, 8]}}, "preprocessing size is .0, 8.; expected"),
        ({"preprocessing": {**PREPROCESSING, "std": [0.0]}}, "preprocessing std is .0.0.; expected"),
        ({"preprocessing": {**PREPROCESSING, "mode": "RGB"}}, "preprocessing mean is .0.5.; expected .*3"),
        ({"preprocessing": {**PREPROCESSING, "resize": "nearest"}}, "preprocessing resize is 'nearest'"),
        ({"classes": "abcd"}, "classes are 'abcd'; expected a name for each class"),
        ({"classes": []}, "classes are"),
        ({"classes": ["a", 2, "c", "d"]}, "classes are"),
        ({"classes": ["a", "", "c", "d"]}, "classes are"),
        ({"classes": ["a", "b", "a", "d"]}, "classes has 'a' twice"),
        ({"classes": 4}, "classes are 4"),
        ({"metrics": {"accuracy": float("nan")}}, "metric 'accuracy' is nan; expected a finite number"),
        ({"metrics": {"accuracy": "good"}}, "metric 'accuracy' is 'good'"),
        ({"metrics": {"accuracy": True}}, "metric 'accuracy' is True"),
        ({"metrics": {1: 0.5}}, "metric 1 is 0.5"),
        ({"metrics": [0.5]}, "metrics is .0.5.; expected numbers by name"),
    ],
)
def test_facts_that_could_not_be_used_are_refused(facts: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.save(binarized(), tmp_path / "m.safetensors", image_batch(1), **facts)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_metrics(tmp_path: Path) -> None:
    path = pc.save(
        binarized(), tmp_path / "m.safetensors", metrics={"a": numpy.float32(0.5), "b": numpy.int64(3)}
    )
    assert pc.load(path, model=binarized()) is not None
    assert pc.inspect(path).header.metrics == {"a": 0.5, "b": 3}


def test_a_model_without_binary_layers_is_saved_too(tmp_path: Path) -> None:
    model = images().eval()
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", image_batch(1)))
    x = image_batch(2)
    assert (net.header.method, net.header.setting) == ("fp", "fp")
    assert torch.equal(net(x), model(x))


@pytest.mark.parametrize(("rest", "tolerance"), [("float16", 1e-3), ("int8", 2e-2)])
def test_the_rest_can_be_narrower(rest: str, tolerance: float, tmp_path: Path) -> None:
    full = pc.save(binarized(), tmp_path / "full.safetensors", image_batch(1))
    narrow = pc.save(binarized(), tmp_path / "narrow.safetensors", image_batch(1), rest=rest)
    assert narrow.stat().st_size < full.stat().st_size
    tensors = pc.inspect(narrow).tensors
    assert tensors["0.weight"].dtype == rest
    assert (tensors["1.running_var"].dtype, tensors["0.bias"].dtype) == ("float32", "float16")
    x = image_batch(4)
    assert torch.allclose(pc.load(narrow)(x), pc.load(full)(x), atol=tolerance)


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    path = pc.save(binarized(Tokens), tmp_path / "m.safetensors", torch.randint(11, (1, 5)))
    assert "embed.weight" in pc.inspect(path).tensors
    assert "head.weight" not in pc.inspect(path).tensors
    model = pc.load(path, model=Tokens())
    assert model.head.weight is model.embed.weight
    tied = hardened_like(
        lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)), scale="tensor"
    )
    tied[2] = tied[1]
    assert (
        "2.weight.bits" not in pc.inspect(pc.save(tied, tmp_path / "n.safetensors", torch.ones(1, 8))).tensors
    )


@pytest.mark.parametrize("form", ["plain", "binarized", "hardened", "packed"])
def test_weights_load_into_a_model_of_ones_own(form: str, tmp_path: Path) -> None:
    path = pc.save(binarized(), tmp_path / "m.safetensors")
    torch.manual_seed(9)
    model = images()
    if form != "plain":
        pc.binarize_(
            model, pc.BinarizeConfig(method="bnn+", scale="tensor"), lambda module, name: name in ("0", "3")
        )
    if form == "hardened":
        pc.harden_(model)
    if form == "packed":
        pc.pack_(model)
    loaded, x = pc.load(path, kernels="reference", model=model), image_batch(2)
    assert loaded is model
    assert not loaded.training
    assert torch.equal(loaded(x), hardened_like(images)(x))
    assert binarization_of(loaded) == binarization_of(binarized())


def test_a_model_that_cannot_be_captured_has_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ExportError, match="depends on the values of a tensor"):
        pc.save(binarized(Branching), path, torch.ones(1, 4))
    assert list(tmp_path.iterdir()) == []
    pc.save(binarized(Branching), path)
    with pytest.raises(FormatError, match="no graph; load it into a model"):
        pc.load(path)
    hard, loaded, x = hardened_like(Branching), pc.load(path, model=Branching()), torch.randn(2, 4)
    assert torch.equal(loaded(x), hard(x))
    assert torch.equal(pc.pack_(binarized(Branching))(x), hard(x))


MISFITS: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: nn.Sequential(*images()[:-1]), "the model lacks '10.bias', '10.weight' and has nothing"),
    (lambda: images().append(nn.Linear(4, 4)), "has '11.bias', '11.weight' that the file lacks"),
    (lambda: images().insert(8, nn.Linear(32, 32)), "the model lacks|is float32"),
    (lambda: images().double(), "is float32 .* in the file, but float64"),
]


@pytest.mark.parametrize(("build", "message"), MISFITS)
def test_a_model_that_does_not_fit_is_refused_and_unchanged(
    build: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    path = pc.save(binarized(), tmp_path / "m.safetensors")
    model = build()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FormatError, match=message):
        pc.load(path, model=model)
    assert same_tensors(model.state_dict(), before)
    assert type(model[3]) is nn.Conv2d


def with_nan(name: str) -> nn.Module:
    model = binarized()
    dict([*model.named_parameters(), *model.named_buffers()])[name].data.fill_(torch.nan)
    return model


def trained_on() -> nn.Module:
    model = hardened_like(images)
    model[3].weight.data.add_(0.1)
    return model


SAVE_REFUSALS: list[tuple[Callable[[], nn.Module], dict[str, Any], str]] = [
    (lambda: images().double(), {}, "'0.weight' is torch.float64; .*model.float"),
    (lambda: with_nan("0.weight"), {}, "parameter '0.weight' has NaN"),
    (lambda: with_nan("1.running_var"), {}, "buffer '1.running_var' has NaN"),
    (lambda: with_nan("3.parametrizations.weight.original"), {}, "'3.weight' has NaN"),
    (trained_on, {}, "'3.weight' is no longer a level times its scale"),
    (binarized, {"rest": "int4"}, "unknown rest 'int4'; did you mean 'int8'"),
    (binarized, {"example_inputs": None, "dynamic": {0: {1: "n"}}}, "pass example_inputs as well"),
]


@pytest.mark.parametrize(("build", "arguments", "message"), SAVE_REFUSALS)
def test_save_refuses_bad_input_and_writes_nothing(
    build: Callable[[], nn.Module], arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ProxConnectError, match=message):
        pc.save(build(), tmp_path / "m.safetensors", **{"example_inputs": image_batch(1), **arguments})
    assert list(tmp_path.iterdir()) == []


def test_float16_overflow_is_refused(tmp_path: Path) -> None:
    model = images()
    model[0].weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ProxConnectError, match=r"'0.weight' has values beyond float16; use rest='float32'"):
        pc.save(model, tmp_path / "m.safetensors", rest="float16")


def test_a_loaded_network_is_not_saved_again(tmp_path: Path) -> None:
    net = pc.load(pc.save(binarized(), tmp_path / "m.safetensors", image_batch(1)))
    with pytest.raises(ProxConnectError, match="copy the file"):
        pc.save(net, tmp_path / "n.safetensors", image_batch(1))


def test_load_refuses_bad_arguments_and_files(tmp_path: Path) -> None:
    path = pc.save(binarized(), tmp_path / "m.safetensors", image_batch(1))
    with pytest.raises(ProxConnectError, match="unknown kernels 'quick'"):
        pc.load(path, kernels="quick")
    with pytest.raises(ProxConnectError, match="activations must be None, 'int8' or 'int6', not 'bnn'"):
        pc.load(path, activations="bnn")
    with pytest.raises(ProxConnectError, match="'int6' is computed by kernels='fast'"):
        pc.load(path, kernels="reference", activations="int6")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match=r"m\.safetensors: truncated"):
        pc.load(path)


def test_the_loaded_network_checks_its_input(tmp_path: Path) -> None:
    net = pc.load(pc.save(binarized(), tmp_path / "m.safetensors", image_batch(1)))
    with pytest.raises(
        ProxConnectError,
        match=r"'input' must be float32 of shape \[batch, 3, 8, 8\], got float32 of shape \[1, 3, 9, 8\]",
    ):
        net(torch.ones(1, 3, 9, 8))


def test_pack_refuses_a_model_with_nothing_to_pack() -> None:
    with pytest.raises(ProxConnectError, match="nothing to pack"):
        pc.pack_(images())
    with pytest.raises(ProxConnectError, match="unknown kernels"):
        pc.pack_(binarized(), kernels="none")


def test_copies_of_a_binarized_model_are_packed_apart() -> None:
    model = binarized()
    pc.pack_(copy.deepcopy(model))
    model(image_batch(2))
    assert model[3].weight.requires_grad
