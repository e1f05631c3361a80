"""Layers whose weight a model reads without calling them, as BEiT, EVA and Swin V2 do."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from looking import every
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import BinaryInput


class Attention(nn.Module):
    """A stand-in for BEiT's, which adds a bias of its own to the product with the weight of ``qkv``."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48, bias=False), nn.Linear(48, 16)
        self.bias = nn.Parameter(torch.zeros(48))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(functional.linear(x, self.qkv.weight, self.bias))


class Beit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 16)
        self.blocks = nn.ModuleList([Attention(), Attention()])
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


QKV, PROJ = ["blocks.0.qkv", "blocks.1.qkv"], ["blocks.0.proj", "blocks.1.proj"]
X = torch.linspace(-1, 1, 12).reshape(3, 4)


def beit(setting: str = "bwa") -> Beit:
    torch.manual_seed(0)
    return pc.binarize_(Beit(), pc.BinarizeConfig.from_setting(setting, method="bnn++"))


def hardened(setting: str = "bwa") -> Beit:
    return pc.harden_(beit(setting)).eval()


def messages(run: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(each.message) for each in caught if "without calling" in str(each.message)]


def activation_bits(model: nn.Module) -> dict[str, int]:
    return {
        layer.name: layer.activation_bits for layer in pc.summary(model).layers if layer.binary_parameters
    }


def kernels(model: nn.Module) -> dict[str, str]:
    return {layer.name: layer.kernel for layer in pc.summary(model).layers if layer.binary_parameters}


@pytest.mark.parametrize(
    "form",
    [beit, lambda: beit().eval(), hardened, lambda: pc.pack_(hardened())],
    ids=["train", "eval", "hardened", "packed"],
)
def test_the_first_forward_names_the_layers_and_no_other_does(form: Callable[[], nn.Module]) -> None:
    model = form()
    (message,) = messages(lambda: model(X))
    assert every(name in message for name in QKV)
    assert every(name not in message for name in PROJ)
    assert not messages(lambda: model(X))
    assert not messages(lambda: copy.deepcopy(model)(X))
    assert activation_bits(model) == dict.fromkeys(QKV, 32) | dict.fromkeys(PROJ, 1)


def test_what_was_seen_in_training_is_known_of_the_packed_model() -> None:
    model = beit()
    assert messages(lambda: model(X))
    packed = pc.pack_(model)
    assert kernels(packed) == dict.fromkeys(QKV, "unpacked") | dict.fromkeys(PROJ, "w1a1")
    assert not messages(lambda: packed(X))


def test_weights_alone_are_unpacked_without_a_warning(tmp_path: Path) -> None:
    model = hardened("bw")
    assert not messages(lambda: model(X))
    filled = pc.load(pc.save(model, tmp_path / "m.safetensors", X), model=Beit())
    for packed in (pc.pack_(model), filled):
        assert set(kernels(packed).values()) == {"w1a32"}
        assert not messages(partial(packed, X))
        assert kernels(packed) == dict.fromkeys(QKV, "unpacked") | dict.fromkeys(PROJ, "w1a32")


def test_binarized_anew_for_weights_alone_it_is_silent() -> None:
    model = hardened()
    model(X)
    model = pc.binarize_(model, pc.BinarizeConfig("bnn++"))
    assert not messages(lambda: model(X))
    assert set(activation_bits(model).values()) == {32}


class Unused(Beit):
    """Asks for the dtype of a weight before it calls the layer, and does not use the second block."""

    def forward(self, x: Tensor) -> Tensor:
        block = self.blocks[0]
        return self.head(block.proj(block.qkv(self.stem(x).to(block.qkv.weight.dtype))))


@pytest.mark.parametrize("form", [lambda model: model, pc.harden_, pc.pack_])
def test_reading_is_no_fault_by_hand_or_before_a_call(form: Callable[[nn.Module], nn.Module]) -> None:
    model = form(pc.binarize_(Unused(), pc.BinarizeConfig.from_setting("bwa")))
    for layer in model.modules():
        if isinstance(layer, BinaryInput):
            assert layer.weight.ndim == 2
    assert set(activation_bits(model).values()) == {1}
    assert not messages(lambda: model(X))
    assert set(activation_bits(model).values()) == {1}
    assert messages(lambda: model.blocks[1](torch.ones(2, 16)))  # the first forward around its layers
    assert activation_bits(model)["blocks.1.qkv"] == 32
    model.blocks[1].qkv(torch.ones(2, 16))
    assert set(activation_bits(model).values()) == {1}


def test_the_state_is_that_of_a_model_that_never_ran() -> None:
    model = beit()
    model(X)
    assert model.state_dict().keys() == beit().state_dict().keys()


@pytest.mark.parametrize("form", [hardened, lambda: pc.pack_(hardened())])
def test_a_pickled_model_watches_too(form: Callable[[], nn.Module]) -> None:
    file = io.BytesIO()
    torch.save(form(), file)
    file.seek(0)
    model = torch.load(file, weights_only=False)
    assert messages(lambda: model(X))
    assert not messages(lambda: model(X))


@pytest.mark.parametrize("form", [beit, hardened])
def test_compiles_whole(form: Callable[[], nn.Module]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(form(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), form()(X))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.stem = nn.Linear(4, 32)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        return self.head(self.encoder(self.stem(x), src_key_padding_mask=padding))


@pytest.mark.parametrize("form", [lambda model: model, pc.harden_, pc.pack_])
@pytest.mark.parametrize("setting", ["bw", "bwa"])
def test_encoders_of_torch_call_their_layers(setting: str, form: Callable[[nn.Module], nn.Module]) -> None:
    model = form(pc.binarize_(Encoder(), pc.BinarizeConfig.from_setting(setting)))
    x, padding = torch.randn(3, 6, 4), torch.arange(6).expand(3, 6) > 3
    with torch.no_grad():
        for masked in ((x,), (x, padding)):
            trained = model.train()(*masked)[:, :4]
            found = [model.eval()(*masked)[:, :4] for _ in range(2)]
            torch.testing.assert_close(found[0], trained)
            assert torch.equal(*found)
    if form is pc.pack_:
        kernel = "w1a32" if setting == "bw" else "w1a1"
        assert kernels(model)["encoder.layers.0.linear1"] == kernel


def one_sided(between: nn.Module) -> nn.Module:
    layers = nn.Linear(8, 8), between, nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 2)
    return pc.binarize_(nn.Sequential(*layers), pc.BinarizeConfig.from_setting("bwa"))


def test_inputs_of_one_sign_are_named_once() -> None:
    model = one_sided(nn.ReLU())
    x = torch.randn(4, 8)
    with pytest.warns(
        UserWarning, match="all inputs of '2' are at least 0, as behind a ReLU, so they all become"
    ):
        model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x)
        pc.harden_(model)(x)


@pytest.mark.parametrize(
    "between", [nn.PReLU(), nn.Hardtanh(), nn.Sequential(nn.ReLU(), nn.LayerNorm(8))], ids=str
)
def test_inputs_of_both_signs_are_silent(between: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_sided(between)(torch.randn(4, 8))


def test_a_trial_with_equal_values_is_silent() -> None:
    layers = nn.ReLU(), nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 2)
    config = pc.BinarizeConfig.from_setting("bwa")
    model = pc.binarize_(nn.Sequential(*layers), config, lambda module, name: name == "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(torch.zeros(4, 8))


def test_learned_thresholds_count() -> None:
    config = pc.BinarizeConfig.from_setting("bwa", learn_thresholds=True)
    layers = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 2)
    model = pc.binarize_(nn.Sequential(*layers), config)
    nn.init.constant_(model[2].input_quantizer.thresholds, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(torch.randn(4, 8))


def test_no_model_of_the_library_has_inputs_of_one_sign() -> None:
    from proxconnect.trainer.checkpoint import DataFacts, build_model
    from proxconnect.trainer.config import TrainConfig

    facts = DataFacts(("a", "b"), {"mode": "RGB", "size": [32, 32], "mean": [0.0] * 3, "std": [1.0] * 3}, "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("resnet8", "resnet18", "vit-stem", "vit-mini"):
            config = TrainConfig(model=name, data="digits", setting="bwa").resolved()
            build_model(config, facts)(torch.randn(2, 3, 32, 32))
