"""Linear layers with scales for groups of inputs, and with ternary weights, run packed."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc

K, N = 200, 48
FORMS = [
    ((-1, 1), 32, True),
    ((-1, 1), 128, True),
    ((-1, 1), 96, True),
    ((-1, 1), 256, True),  # all inputs share a scale
    ((-1, 1), 40, False),
    ((-1, 0, 1), "tensor", True),
    ((-1, 0, 1), "channel", True),
    ((-1, 0, 1), 64, True),
    ((-1, 0, 1), 17, False),
]


def hardened(model: nn.Module, levels: tuple[int, ...], scale: Any) -> nn.Module:
    """Harden all layers of a model that can be binarized."""
    torch.manual_seed(5)
    config = pc.BinarizeConfig("pc", levels=levels, scale=scale)
    model = pc.binarize_(model, config, filter_fn=lambda module, name: not isinstance(module, nn.BatchNorm1d))
    return pc.harden_(model).eval().requires_grad_(False)


def quantized(x: Tensor, bits: int) -> Tensor:
    """Quantize rows as the kernels do."""
    step = x.abs().amax(dim=-1, keepdim=True) / (2 ** (bits - 1) - 1)
    return torch.round(x / step).double() * step


@pytest.mark.parametrize(("levels", "scale", "runs"), FORMS)
@pytest.mark.parametrize(("activations", "bits"), [(None, 32), ("int8", 8), ("int6", 6)])
def test_a_linear_layer_runs_packed(
    levels: tuple[int, ...], scale: Any, runs: bool, activations: str | None, bits: int
) -> None:
    layer = hardened(nn.Linear(K, N), levels, scale)
    packed = pc.pack_(copy.deepcopy(layer), activations=activations)
    planes = len(levels) - 1
    assert packed.kernel == (f"w{planes}a{bits}" if runs else "unpacked")
    assert pc.summary(packed).layers[0].kernel == packed.kernel
    for rows in ((1,), (2, 3), (70,)):
        x = torch.randn(*rows, K)
        inputs = quantized(x, bits) if runs and activations else x.double()
        expected = inputs @ layer.weight.double().T + layer.bias.double()
        torch.testing.assert_close(packed(x).double(), expected, rtol=1e-5, atol=1e-5)


def memory(layer: nn.Module) -> int:
    """Count the bytes of all tensors that a layer holds, in whatever it holds them."""
    stores: dict[int, int] = {}

    def look(thing: Any, seen: set[int]) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            store = thing.untyped_storage()
            stores[store.data_ptr()] = store.nbytes()
        elif isinstance(thing, dict):
            for value in thing.values():
                look(value, seen)
        elif isinstance(thing, (list, tuple)):
            for value in thing:
                look(value, seen)
        elif type(thing).__module__.startswith("proxconnect") and hasattr(thing, "__dict__"):
            look(vars(thing), seen)

    look(vars(layer), set())
    return sum(stores.values())


@pytest.mark.parametrize(
    ("levels", "dtype", "bits"), [((-1, 1), 16, 1.125), ((-1, 0, 1), 16, 2.125), ((-1, 1), 32, 1.25)]
)
def test_a_weight_is_in_memory_once(levels: tuple[int, ...], dtype: int, bits: float) -> None:
    config = pc.BinarizeConfig("pc", levels=levels, scale=128, scale_dtype=getattr(torch, f"float{dtype}"))
    layer = nn.Linear(1024, 256, bias=False).requires_grad_(False)
    packed = pc.pack_(pc.binarize_(layer, config, lambda module, name: True), activations="int8")
    packed(torch.randn(2, 1024))
    vectors = 8 * 256  # bytes: what layers of any size have, a bias for example
    assert memory(packed) <= bits * 1024 * 256 / 8 + vectors
    state = packed.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "packed.weight.bits": (*(2,) * (len(levels) - 2), 256, 128),
        "packed.weight.scale": (256, 8),
    }


@pytest.mark.parametrize("levels", [(-1, 1), (-1, 0, 1)])
def test_bits_and_scales_stay_what_they_are_when_kernels_have_laid_them_out(levels: tuple[int, ...]) -> None:
    layer = hardened(nn.Linear(K, N, bias=False), levels, 64)
    packed, reference = pc.pack_(copy.deepcopy(layer)), pc.pack_(copy.deepcopy(layer), kernels="reference")
    assert packed.kernel != reference.kernel
    assert not {"bits", "scale"} & dict(packed.packed.weight.named_buffers()).keys()
    x = torch.randn(3, K)
    expected = packed(x)
    for there_and_back in (
        lambda module: module.half().float(),
        lambda module: module.double().float(),
        lambda module: pickle.loads(pickle.dumps(module)),
        copy.deepcopy,
    ):
        again = there_and_back(packed)
        assert torch.equal(again.packed.weight.bits, reference.packed.weight.bits)
        assert torch.equal(again.packed.weight.scale, reference.packed.weight.scale)
        assert again.packed.weight.scale.dtype == torch.float16
        assert torch.equal(again.weight, layer.weight)
        assert torch.equal(again(x), expected)
    other = pc.pack_(hardened(nn.Linear(K, N, bias=False), levels, 64))
    other.load_state_dict(packed.state_dict())
    assert torch.equal(other(x), expected)
    other.load_state_dict({name: tensor.clone() for name, tensor in packed.state_dict().items()}, assign=True)
    assert torch.equal(other(x), expected)


class Model(nn.Module):
    """Layers whose neighbours fold into the kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(K, 96), nn.BatchNorm1d(96)
        self.second, self.slope = nn.Linear(96, 96, bias=False), nn.PReLU(96)
        self.last = nn.Linear(96, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(self.slope(self.second(x) + x))


@pytest.mark.parametrize(("levels", "scale"), [((-1, 1), 32), ((-1, 0, 1), 32), ((-1, 0, 1), "channel")])
@pytest.mark.parametrize("activations", [None, "int8"])
def test_a_loaded_network_folds_what_is_around_them(
    levels: tuple[int, ...], scale: Any, activations: str | None, tmp_path: Path
) -> None:
    model = hardened(Model(), levels, scale)
    nn.init.uniform_(model.norm.weight, -1.0, 2.0)
    nn.init.uniform_(model.norm.running_mean, -1.0, 1.0)
    path = pc.save(model, tmp_path / "m.safetensors", torch.randn(4, K))
    net = pc.load(path, activations=activations)
    bits = 32 if activations is None else 8
    assert set(net.kernels.values()) == {f"w{len(levels) - 1}a{bits}"}
    left = {node.op for node in net._fused[net.graph.names].graph.nodes}
    assert left == {"proxconnect.product"}
    for rows in (1, 9, 33):
        x = torch.randn(rows, K)
        expected = model(x)
        near = 1e-5 if activations is None else 0.05
        torch.testing.assert_close(net(x), expected, rtol=0, atol=near * expected.abs().max().item())
        packed = pc.pack_(copy.deepcopy(model), activations=activations)(x)
        torch.testing.assert_close(net(x), packed, rtol=0, atol=near * expected.abs().max().item())


@pytest.mark.parametrize(("levels", "scale"), [((-1, 1), 64), ((-1, 0, 1), 64), ((-1, 0, 1), "tensor")])
def test_compilers_and_transforms_see_one_operator(levels: tuple[int, ...], scale: Any) -> None:
    packed = pc.pack_(hardened(nn.Linear(K, N), levels, scale), activations="int8")
    x = torch.randn(3, K)
    program = torch.export.export(packed, (x,))
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == [
        f"proxconnect.{packed.kernel}_linear.default"
    ]
    assert torch.equal(program.module()(x), packed(x))
    node = next(node for node in program.graph.nodes if node.op == "call_function")
    weight, affine = packed.packed_forward.product.weight, packed.packed_forward.product.affine
    given = (*weight.arguments, affine.scale, affine.bias, None, None)

    def product(rows: Tensor) -> Tensor:
        return node.target(rows, *given, group=affine.group)

    assert torch.equal(torch.func.vmap(product)(x[:, None]), packed(x)[:, None])
    assert torch.equal(torch.func.vmap(product, in_dims=1, out_dims=1)(x[:, None]), packed(x)[:, None])
    again = copy.deepcopy(packed)
    again.load_state_dict(packed.state_dict())
    assert torch.equal(again(x), packed(x))


class Words(nn.Module):
    """Rows of an embedding, and a head with the same weight."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(37, 64, padding_idx=0), nn.Linear(64, 37, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids))


TABLES = [((-1, 1), "channel"), ((-1, 1), "tensor"), ((-1, 1), 32), ((-1, 0, 1), 32), ((-1, 0, 1), "tensor")]


@pytest.fixture
def unpacked_shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Record the shapes of the weights that are unpacked."""
    from proxconnect.engine import weight

    unpack, shapes = weight.unpack, []

    def recorded(bits: Tensor, scale: Tensor, shape: tuple[int, ...], group: int | None) -> Tensor:
        shapes.append(tuple(shape))
        return unpack(bits, scale, shape, group)

    monkeypatch.setattr(weight, "unpack", recorded)
    return shapes


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("levels", "scale"), TABLES)
def test_an_embedding_unpacks_the_rows_that_are_asked_for(
    levels: tuple[int, ...],
    scale: Any,
    tied: bool,
    tmp_path: Path,
    unpacked_shapes: list[tuple[int, ...]],
) -> None:
    model = hardened(Words(tied), levels, scale)
    ids = torch.tensor([[5, 0, 36], [5, 1, 2]])
    path = pc.save(model, tmp_path / "m.safetensors", ids)
    net, packed = pc.load(path), pc.pack_(copy.deepcopy(model))
    loaded = pc.load(path, model=Words(tied))
    assert (packed.table.kernel, packed.head.kernel) == ("rows", f"w{len(levels) - 1}a32")
    assert (packed.table.packed.weight is packed.head.packed.weight) is tied
    assert net.kernels["head.weight" if not tied else "table.weight"] == packed.head.kernel
    expected, rows = model(ids), model.table(ids)
    unpacked_shapes.clear()
    for form in (net, packed, loaded):
        torch.testing.assert_close(form(ids), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
        torch.testing.assert_close(form(ids[:1]), expected[:1], rtol=1e-4, atol=1e-5)
    assert torch.equal(packed.table(ids.int()), rows)
    assert packed.table(ids[:, :0]).shape == (2, 0, 64)
    assert every(shape[0] in (0, 3, 6) for shape in unpacked_shapes)
    with pytest.raises(IndexError):
        packed.table(torch.tensor([37]))
    length = torch.export.Dim("length", min=2)
    program = torch.export.export(packed.table, (ids,), dynamic_shapes=(({1: length},),))
    assert torch.equal(program.module()(ids[:, :2]), rows[:, :2])
    assert torch.equal(copy.deepcopy(packed).bfloat16().table(ids), rows.bfloat16())
    reference = pc.pack_(copy.deepcopy(model), kernels="reference")
    assert reference.table.kernel == "unpacked"
    assert torch.equal(reference.table(ids), rows)
