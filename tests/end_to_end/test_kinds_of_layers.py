"""Every kind of layer: it computes with the quantized weights, trains its latents, and travels as bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, weight_names


class Attention(nn.Module):
    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **arguments)

    def forward(self, x: Tensor) -> Tensor:
        memory = x if self.attention.kdim == 8 else x[..., : self.attention.kdim]
        return self.attention(x, memory, memory, need_weights=False)[0]


class Recurrent(nn.Module):
    """A recurrent layer or cell, of which only the output counts."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x)
        return output[0] if isinstance(output, tuple) else output


class Conv1D(nn.Module):
    """A linear layer as the library transformers has it: recognised by the name of its class."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.size()[:-1], self.nf)


def numbers(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape)


LSTM = {"num_layers": 2, "bidirectional": True, "batch_first": True}
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Linear(13, 5), numbers(3, 13)),
    "transposed linear": (lambda: Conv1D(5, 13), numbers(3, 2, 13)),
    "grouped": (lambda: nn.Conv1d(4, 6, 3, groups=2), numbers(2, 4, 9)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), numbers(2, 4, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), numbers(2, 2, 3, 3, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), numbers(2, 4, 9)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), numbers(2, 4, 5, 5)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 4, 2, groups=4), numbers(2, 4, 3, 3, 3)),
    "embedding": (lambda: nn.Embedding(11, 8, padding_idx=0), lambda: torch.arange(12).reshape(3, 4) % 11),
    "attention": (Attention, numbers(2, 5, 8)),
    "attention of other sizes": (lambda: Attention(kdim=6, vdim=6, bias=False), numbers(2, 5, 8)),
    "lstm": (lambda: Recurrent(nn.LSTM(6, 5, **LSTM)), numbers(2, 4, 6)),
    "projected": (lambda: Recurrent(nn.LSTM(6, 5, proj_size=3, batch_first=True)), numbers(2, 4, 6)),
    "gru": (lambda: Recurrent(nn.GRU(6, 5, batch_first=True)), numbers(2, 4, 6)),
    "rnn": (lambda: Recurrent(nn.RNN(6, 5, nonlinearity="relu", batch_first=True)), numbers(2, 4, 6)),
    "lstm cell": (lambda: Recurrent(nn.LSTMCell(6, 5)), numbers(3, 6)),
    "gru cell": (lambda: Recurrent(nn.GRUCell(6, 5)), numbers(3, 6)),
    "rnn cell": (lambda: Recurrent(nn.RNNCell(6, 5)), numbers(3, 6)),
}
CONFIGS = [
    {"method": "bnn++"},
    {"method": "bc", "scale": "tensor", "learn_scale": True},
    {"method": "pc", "levels": (-1, 0, 1)},
    {"method": "parq", "levels": (-1, 0, 1), "scale": 5, "learn_scale": True},
    {"method": "bnn", "scale": None},
]
# Each kind of layer meets one configuration, in turn; all of them in the large matrix.
PAIRS = [
    pytest.param(layer, config, id=f"{layer}-{j}", marks=() if i % len(CONFIGS) == j else pytest.mark.full)
    for i, layer in enumerate(LAYERS)
    for j, config in enumerate(CONFIGS)
]


def binarized(layer: str, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    return pc.binarize_(LAYERS[layer][0](), pc.BinarizeConfig(**config), lambda module, name: True)


@pytest.fixture(autouse=True)
def no_fused_attention() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.parametrize(("layer", "config"), PAIRS)
def test_from_latents_to_the_answer_of_a_file(layer: str, config: dict[str, Any], tmp_path: Path) -> None:
    model, x = binarized(layer, **config), LAYERS[layer][1]()
    names = {name for module in model.modules() for name in weight_names(module)}
    assert {found.tensor_name for found in binarized_weights(model)} == names

    plain = LAYERS[layer][0]()  # the same layer with the quantized weights as its own
    state = {name: p.detach() for name, p in model.named_parameters() if "parametrizations" not in name}
    for found in binarized_weights(model):
        state[found.name] = getattr(found.module, found.tensor_name).detach()
    plain.load_state_dict(state)
    assert torch.equal(model.train()(x), plain(x))
    assert torch.equal(model.eval()(x), plain(x))

    output = model.train()(x).square().sum()
    output.backward()
    plain(x).square().sum().backward()
    for found in binarized_weights(model):
        q, gradient = found.quantizer, plain.get_parameter(found.name).grad
        expected = q.pair.backward(q.normalized(found.latent), q.mu) * q.scale(found.latent) / q.latent_scale
        torch.testing.assert_close(found.latent.grad, expected.detach() * gradient)

    assert torch.equal(copy.deepcopy(model)(x), model(x))
    hard = pc.harden_(copy.deepcopy(model)).eval().requires_grad_(False)
    expected = hard(x)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    assert torch.equal(pc.load(path, kernels="reference")(x), expected)
    loaded = pc.load(path, model=LAYERS[layer][0]())
    answer = loaded(x)
    assert torch.equal(copy.deepcopy(loaded)(x), answer)
    assert pc.save(loaded, tmp_path / "again.safetensors", x).read_bytes() == path.read_bytes()
    assert torch.equal(pc.pack_(copy.deepcopy(model), kernels="reference")(x), expected)
    for fast in (answer, pc.load(path)(x), pc.pack_(model)(x)):
        torch.testing.assert_close(fast, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_fused_attention_answers_with_the_quantized_weights() -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x, full = torch.randn(2, 5, 8), copy.deepcopy(model)
    pc.binarize_(model, pc.BinarizeConfig("bc"), lambda module, name: True)
    with torch.inference_mode():
        fused = model(x)
    torch.testing.assert_close(fused, model.train()(x).detach())
    assert not torch.allclose(fused, full(x), atol=1e-2)


def test_a_transposed_linear_layer_runs_on_a_kernel(tmp_path: Path) -> None:
    model, x = binarized("transposed linear", scale="channel"), torch.randn(3, 2, 13)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    assert pc.load(path).kernels == {"weight": "w1a32"}
    packed = pc.pack_(copy.deepcopy(model)).requires_grad_(False)
    assert pc.summary(packed, x).layers[0].kernel == "w1a32"
    for form in (model, packed, pc.load(path), path):
        assert pc.summary(form, x).macs(binary=True) == 2 * 5 * 13
    with torch.no_grad():
        torch.testing.assert_close(pc.load(path)(x), packed(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(pc.load(path, activations="int8")(x), packed(x), rtol=0.05, atol=0.2)


@pytest.mark.parametrize("layer", ["lstm", "transposed2d"])
def test_packed_layers_count_the_same_products(layer: str) -> None:
    model, x = binarized(layer), LAYERS[layer][1]()
    expected = pc.summary(model, x).macs(binary=True)
    assert pc.summary(pc.pack_(model), x).macs(binary=True) == expected


class ColumnBias(Conv1D):
    """Uses its weight as its base does, and its bias otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias[:1], x, self.weight)


def test_a_transposed_product_with_another_bias_runs_on_no_kernel(tmp_path: Path) -> None:
    model, x = ColumnBias(5, 13), torch.randn(4, 13)
    pc.binarize_(model, pc.BinarizeConfig("bc"), lambda module, name: True)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    with torch.no_grad():
        expected = pc.harden_(model)(x)
        torch.testing.assert_close(pc.load(path)(x), expected)
        assert torch.equal(pc.pack_(model)(x), expected)


def test_a_file_of_a_transposed_convolution_fits_no_other_layer(tmp_path: Path) -> None:
    path = pc.save(binarized("transposed1d"), tmp_path / "m.safetensors")
    other = nn.ConvTranspose1d(4, 3, 3)  # a weight of the same shape
    other.bias = nn.Parameter(torch.zeros(6))
    with pytest.raises(pc.ProxConnectError, match="'weight' is binary in the file, but cannot be so in Conv"):
        pc.load(path, model=other)
    assert type(other) is nn.ConvTranspose1d


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        ("transposed2d", {"(model)": 4 * 25 * 6 * 9}),
        ("attention", {"attention": 3 * 5 * 64, "attention.out_proj": 5 * 64}),
        ("gru", {"layer": 4 * 15 * (6 + 5)}),
        ("lstm cell", {"layer": 20 * (6 + 5)}),
    ],
)
def test_multiply_accumulates(layer: str, macs: dict[str, int], tmp_path: Path) -> None:
    model, x = binarized(layer), LAYERS[layer][1]()
    found = {row.name: row.macs for row in pc.summary(model, x).layers}
    assert found == macs
    stored = pc.summary(pc.save(model, tmp_path / "m.safetensors", x)).layers
    assert sum(row.macs or 0 for row in stored) == sum(macs.values())
