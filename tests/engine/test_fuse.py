"""Networks rewritten for the kernels: the same decisions as torch, the same answers up to rounding."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine import Network
from proxconnect.engine._kernel_call import KernelCall
from proxconnect.engine._operand_layout import LinearOperand
from proxconnect.engine.fusion import _chain_steps, fuse, resolve_fused
from proxconnect.engine.fusion._thresholds import thresholds
from proxconnect.engine.weight import PackedWeight
from proxconnect.format import BinaryTensor, InputSpec
from proxconnect.format.bits import pack_bits, unpack_bits
from proxconnect.graph import Graph, Interpreter, Node, SizeCheck, TensorName, Value
from proxconnect.graph.graph import DType
from proxconnect.graph.operators import resolve
from proxconnect.kernels import Affine, Panels, Thresholds
from proxconnect.models import CifarResNet, VisionTransformer


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(*(nn.Linear(20, 20, bias=False) for _ in range(4)))
        self.norms = nn.Sequential(*(nn.BatchNorm1d(20) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        for fc, norm in zip(self.fc, self.norms, strict=True):
            x = norm(fc(x))
        return x


class Line(nn.Module):
    """Convolutions of one dimension, one after another, then a view, which takes one memory format only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(48, 64, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm1d(64)
        self.second = nn.Conv1d(64, 6, 4, groups=2)
        self.head = nn.Linear(6 * 3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.norm(self.first(x)))
        return self.head(y.view(-1, 18))


class Pooled(nn.Module):
    """A plain stack with pooling between a convolution and the sign of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 24, 3, padding="same", bias=False), nn.BatchNorm2d(24)
        self.conv3 = nn.Conv2d(24, 8, 3)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardtanh(self.norm1(self.conv1(x)))
        x = nn.functional.max_pool2d(self.norm2(self.conv2(x)), 2)
        return self.head(self.conv3(x).flatten(1))


def resnet(block: str, nonlinearity: str) -> Callable[[], nn.Module]:
    return lambda: CifarResNet(8, classes=4, block=block, nonlinearity=nonlinearity)


def vit() -> nn.Module:
    return VisionTransformer(classes=4, image_size=8, width=24, depth=1, heads=2)


IMAGE, ROW, LINE = (3, 8, 8), (20,), (48, 12)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "basic": (resnet("basic", "prelu"), IMAGE),
    "bireal": (resnet("bireal", "rprelu"), IMAGE),
    "relu": (resnet("basic", "relu"), IMAGE),
    "pooled": (Pooled, IMAGE),
    "perceptron": (Perceptron, ROW),
    "line": (Line, LINE),
    "vit": (vit, IMAGE),
}
# A model, its setting, and how many of its products have each epilogue.
CASES = [
    ("basic", "bwa", {}, {"Affine": 1, "Chain": 2, "Thresholds": 3}),
    ("basic", "bwaa", {}, {"Affine": 1, "Chain": 2, "Thresholds": 3}),
    ("basic", "bwaa", {"overflow": "saturate", "accumulator_bits": 5}, {"Chain": 6}),
    ("bireal", "bwaa", {"learn_thresholds": True}, {"Chain": 6}),
    ("pooled", "bwa", {"learn_thresholds": True}, {"Affine": 1, "Chain": 1, "Thresholds": 1}),
    ("perceptron", "bwa", {}, {"Affine": 1, "Thresholds": 3}),
    ("line", "bwa", {}, {"Affine": 1, "Thresholds": 1}),
    ("vit", "bwa", {}, {"Affine": 3, "Chain": 1}),
    ("relu", "bw", {}, {"Affine": 6}),
    ("perceptron", "bw", {"scale": "tensor"}, {"Affine": 4}),
    ("line", "bw", {}, {"Affine": 2}),
    ("vit", "bw", {}, {"Affine": 4}),
]


def saved(model: str, setting: str, path: Path, **values: object) -> Path:
    """Pack a model with statistics and parameters that differ from those at the start."""
    build, shape = MODELS[model]
    torch.manual_seed(1)
    net = build()
    chosen = lambda module, name: "head" not in name and name not in ("conv", "patches")  # noqa: E731
    pc.binarize_(net, pc.BinarizeConfig.from_setting(setting, **values), chosen)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for name, parameter in net.named_parameters():
        if "norm" in name or name.endswith(("gamma", "zeta", "thresholds")):
            nn.init.normal_(parameter)
    return pc.save(net, path / "m.safetensors", torch.zeros(1, *shape))


def products(net: Network) -> list[KernelCall]:
    assert net._fused
    return [
        node.args[0]
        for node in net._fused[net.graph.names].graph.nodes
        if node.op in ("proxconnect.product", "proxconnect.sums")
    ]


@pytest.mark.parametrize(("model", "setting", "values", "epilogues"), CASES)
def test_a_fused_network_answers_as_the_hardened_one(
    model: str, setting: str, values: dict[str, object], epilogues: dict[str, int], tmp_path: Path
) -> None:
    path = saved(model, setting, tmp_path, **values)
    net, reference = pc.load(path), pc.load(path, kernels="reference")
    assert Counter(type(product.epilogue).__name__ for product in products(net)) == epilogues
    assert set(net.kernels.values()) == {"w1a32" if setting == "bw" else "w1a1"}
    for batch in (1, 3):
        x = torch.randn(batch, *MODELS[model][1])
        expected = reference(x)
        bound = 1e-5 * expected.abs().max().item()
        torch.testing.assert_close(net(x), expected, rtol=0, atol=bound)


def test_norm_shortcut_and_relu_of_float_layers_are_folded(tmp_path: Path) -> None:
    net = pc.load(saved("relu", "bw", tmp_path))
    assert net._fused
    left = Counter(node.op for node in net._fused[net.graph.names].graph.nodes)
    assert left["aten.relu.default"] == 1  # that of the first layer
    assert left["aten.batch_norm.default"] == left["aten.add.Tensor"] == 0
    assert every(product.affine.slope is not None for product in products(net))


def test_a_float_on_which_a_decision_depends_is_torchs_own(tmp_path: Path) -> None:
    """A float that no sign follows may be rounded otherwise; in a model of both kinds, no other float may."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 3))
    float_input, binary_input = pc.BinarizeConfig("bc"), pc.BinarizeConfig.from_setting("bwa")
    model = pc.binarize_(model, {"0": float_input, "1": float_input, "2": binary_input, "3": float_input})
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 9)))
    assert list(net.kernels.values()) == ["unpacked", "unpacked", "w1a1", "w1a32"]


NODES = {
    "norm": Node("aten.batch_norm.default", (Value(0), *map(TensorName, "wbmv"), False, 0.1, 1e-5, False)),
    "slope": Node("aten.prelu.default", (Value(0), TensorName("slope"))),
    "shift": Node("aten.sub.Tensor", (Value(0), TensorName("shift"))),
    "gain": Node("aten.mul.Tensor", (Value(0), TensorName("shift"))),
    "clip": Node("aten.hardtanh.default", (Value(0),)),
}


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(
    "names", [(), ("norm",), ("norm", "slope"), ("norm", "shift"), ("gain", "clip", "shift", "norm")]
)
def test_thresholds_decide_as_torch_does_for_every_sum(names: tuple[str, ...], wrap: bool) -> None:
    generator = torch.Generator().manual_seed(len(names))
    n, k = 64, 147
    numbers = lambda: torch.randn(n, generator=generator)  # noqa: E731
    tensors = {"w": numbers(), "b": 5 * numbers(), "m": 9 * numbers(), "v": numbers().square() + 0.1}
    tensors |= {"slope": numbers().abs(), "shift": numbers()}
    tensors["w"][0] = 0
    affine = Affine.of(numbers().abs(), numbers())
    weight = LinearOperand(Panels.lay_out(pack_bits(torch.ones(n, k)), k))
    product = KernelCall("w1a1", weight, False, affine, wrap)
    chain = [NODES[name] for name in names]
    found = thresholds(product, chain, tensors.__getitem__, per_channel=True)
    assert found is not None
    sums = torch.arange(-128, 128) if wrap else torch.arange(-k, k + 1)
    y = sums[:, None].float() * affine.scale + affine.bias
    for node in chain:
        y = resolve(node.op)(y, *(tensors[a.name] if isinstance(a, TensorName) else a for a in node.args[1:]))
    decisions = (sums[:, None] >= found.threshold) != unpack_bits(found.flip, (1, n))
    assert torch.equal(decisions, y >= 0)


@pytest.mark.parametrize(
    ("node", "per_channel"),
    [
        (Node("aten.abs.default", (Value(0),)), True),
        (Node("aten.prelu.default", (Value(0), TensorName("falling"))), True),
        (Node("aten.add.Tensor", (Value(0), Value(1))), True),
        (Node("aten.add.Tensor", (Value(0), TensorName("rows"))), True),
        (NODES["norm"], False),
    ],
)
def test_what_does_not_decide_by_one_threshold_stays(node: Node, per_channel: bool) -> None:
    tensors = dict.fromkeys("wbmv", torch.ones(4)) | {
        "falling": torch.tensor([-0.5]),
        "rows": torch.ones(2, 4),
    }
    product = KernelCall(
        "w1a1", LinearOperand(Panels.lay_out(pack_bits(torch.ones(4, 9)), 9)), False, Affine.of(torch.ones(4))
    )
    assert thresholds(product, [node], tensors.__getitem__, per_channel) is None


def test_layers_that_read_one_sign_pack_it_once(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    model = pc.binarize_(Branches(), pc.BinarizeConfig.from_setting("bwa"), lambda module, name: True)
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, *IMAGE))
    net = pc.load(path)
    assert net._fused
    operators = Counter(node.op for node in net._fused[net.graph.names].graph.nodes)
    assert operators == {"proxconnect.pack": 1, "proxconnect.product": 2}


def test_a_network_follows_its_state_and_its_device(tmp_path: Path) -> None:
    one, other = (pc.load(saved("relu", "bw", tmp_path)) for _ in range(2))
    x = torch.randn(2, *IMAGE)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.add_(0.1)
    one = copy.deepcopy(one)
    one.load_state_dict(other.state_dict())
    reference = other._stored[other.graph.names].run((x,), other._lookup)
    torch.testing.assert_close(one(x), reference, rtol=1e-4, atol=1e-4)
    assert one.to("cpu")._fused
    torch.testing.assert_close(one(x), reference, rtol=1e-4, atol=1e-4)


def test_gradients_go_through_the_stored_graph(tmp_path: Path) -> None:
    net = pc.load(saved("relu", "bw", tmp_path))
    x = torch.randn(2, *IMAGE, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    net.model.get_parameter("head.bias").requires_grad_(True)
    assert net(x.detach()).requires_grad


@pytest.mark.parametrize("model", ["relu", "vit", "line"])
def test_activations_of_fewer_bits_cost_little(model: str, tmp_path: Path) -> None:
    path = saved(model, "bw", tmp_path)
    reference, x = pc.load(path, kernels="reference"), torch.randn(4, *MODELS[model][1])
    expected = reference(x)
    for activations, kernels, most in (("int8", {"w1a8"}, 0.05), ("int6", {"w1a8", "w1a6"}, 0.2)):
        net = pc.load(path, activations=activations)
        assert set(net.kernels.values()) <= kernels
        assert 0 < (net(x) - expected).abs().max() < most * expected.abs().max()


def test_thresholds_never_leave_bits(tmp_path: Path) -> None:
    net = pc.load(saved("perceptron", "bwa", tmp_path))
    assert net._fused
    assert [node.op for node in net._fused[net.graph.names].graph.nodes] == [
        "proxconnect.pack",
        *["proxconnect.product"] * 4,
    ]
    assert [isinstance(product.epilogue, Thresholds) for product in products(net)] == [True] * 3 + [False]


def test_graphs_that_no_exporter_writes_are_run_as_they_are() -> None:
    """Every rule meets arguments that its operator takes, but exporters never give."""
    tensors = {"w": torch.ones(2)}
    nodes = (
        Node("aten.sign.default", (TensorName("w"),)),
        Node("aten.mul.Tensor", (Value(0), TensorName("w"))),
        Node("aten.prelu.default", (Value(2), Value(1))),
        Node("aten.relu.default", (TensorName("w"),)),
        Node("aten.add.Tensor", (1.0, Value(3))),
        Node("aten.round.default", (Value(5),)),
        Node("aten.split.Tensor", (Value(6), 1, 1)),
        Node("getitem", (Value(7), 0)),
    )
    graph = Graph((InputSpec("x", "float32", ("batch", 2)),), nodes, Value(8))
    assert fuse(graph, {}, tensors.__getitem__, {}).graph == graph


class Rounded(nn.Module):
    """Rounds what is no product, and adds one bias to all outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.bias = nn.Linear(8, 4, bias=False), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.relu(nn.functional.linear(x, self.linear.weight, self.bias)))


def norm_of_infinite_mean() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU())
    model[1].running_mean[0] = float("inf")
    return model


def dead_output() -> nn.Module:
    """Make a model whose first output has a weight of zeros, which has no sign."""
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    nn.init.zeros_(model[0].weight[:1].detach())
    return model


@pytest.mark.parametrize("setting", ["bw", "bwa"])
@pytest.mark.parametrize("build", [Rounded, norm_of_infinite_mean, dead_output])
def test_both_kinds_of_kernels_take_the_same_networks(
    build: Callable[[], nn.Module], setting: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = pc.binarize_(build(), pc.BinarizeConfig.from_setting(setting), lambda module, name: True)
    path = pc.save(model, tmp_path / "m.safetensors", torch.randn(2, 8))
    net, reference = pc.load(path), pc.load(path, kernels="reference")
    for batch in (1, 2, 5):
        x = torch.randn(batch, 8)
        torch.testing.assert_close(net(x), reference(x), rtol=1e-5, atol=1e-5, equal_nan=True)


SHAPES = {index: ((2, 3), (8, 8)) for index in range(9)}
SIGNS = (
    Node("aten.sign.default", (Value(0),)),
    Node("aten.add.Tensor", (Value(1), 0.5)),
    Node("aten.sign.default", (Value(2),)),
)
MULTIPLE = Node("aten.add.Tensor", (Value(1), 0.5), {"alpha": 2})


@pytest.mark.parametrize(
    ("nodes", "recognised"),
    [
        (SIGNS, True),
        ((SIGNS[0], MULTIPLE, SIGNS[2]), False),
        ((SIGNS[0], Node("aten.add.Tensor", (Value(1), 0.25)), SIGNS[2]), False),
    ],
)
def test_a_pattern_is_recognised_with_all_its_arguments(nodes: tuple[Node, ...], recognised: bool) -> None:
    graph = Graph((InputSpec("x", "float32", ("batch", 8)),), nodes, Value(3))
    fused = fuse(graph, {}, {}.__getitem__, SHAPES).graph
    assert (fused.nodes[-1].op == "proxconnect.sign") == recognised


X = Value(0)
UNFUSED = [
    ((2, 8), (Node("aten.sigmoid.default", (X,)),), "no kernel computes it"),
    ((2, 8), (Node("aten.linear.default", (X, TensorName("matrix"))),), "its weights are floats"),
    ((2, 5, 8), (Node("aten.relu.default", (X,)),), "kernels take rows and images, not 3 dimensions"),
    ((2, 8), (Node("aten.relu.default", (X,)),), "no operator beside it joins it"),
    (
        (2, 8, 2, 2),
        (Node("aten.add.Tensor", (X, TensorName("image"))), Node("aten.relu.default", (Value(1),))),
        "its constants are not a number for each channel",
    ),
    (
        (2, 8),
        (Node("aten.neg.default", (X,)), *[Node("aten.mul.Tensor", (Value(1), 2.0))] * 2),
        "other operators read its input too",
    ),
    ((2, 8), (Node("aten.reshape.default", (X, (-1, 8))),), None),
]


@pytest.mark.parametrize(("shape", "nodes", "reason"), UNFUSED)
def test_what_torch_computes_has_a_reason(
    shape: tuple[int, ...], nodes: tuple[Node, ...], reason: str | None
) -> None:
    tensors = {"matrix": torch.ones(8, 8), "image": torch.ones(2, 2)}
    graph = Graph(
        (InputSpec("x", "float32", ("batch", *shape[1:])),),
        nodes,
        tuple(map(Value, range(1, 9)))[: len(nodes)],
    )
    shapes = dict.fromkeys(range(len(nodes) + 1), tuple((size, size) for size in shape))
    fused = fuse(graph, {}, tensors.__getitem__, shapes)
    assert fused.graph == graph
    assert reason in fused.unfused.values() if reason else not fused.unfused
    assert {fused.graph.nodes[place].op.partition(".")[0] for place in fused.unfused} <= {"aten"}


def test_a_chain_that_torch_rounds_otherwise_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chain_steps, "_is_faithful", lambda *arguments: False)
    nodes = Node("aten.relu.default", (X,)), Node("aten.mul.Tensor", (Value(1), 2.0))
    fused = fuse(
        Graph((InputSpec("x", "float32", ("batch", 8)),), nodes, Value(2)), {}, {}.__getitem__, SHAPES
    )
    assert fused.unfused == dict.fromkeys((0, 1), "a kernel would round otherwise than torch")


def test_a_sign_of_whole_numbers_is_torchs() -> None:
    graph = Graph((InputSpec("x", "int64", ("batch", 8)),), SIGNS, Value(3))
    assert fuse(graph, {}, {}.__getitem__, {2: SHAPES[2], 3: SHAPES[3]}).graph == graph


def packed(outputs: int, inputs: int) -> PackedWeight:
    bits = pack_bits(torch.randn(outputs, inputs))
    return PackedWeight(bits, torch.rand(outputs, 1) + 0.5, BinaryTensor((outputs, inputs)))


LAYER = Node("aten.linear.default", (Value(0), TensorName("w")))
JUMPS = [
    Node("aten.threshold.default", (Value(1), 0.5, 20.0)),
    Node("aten.hardshrink.default", (Value(1),)),
    Node("aten.logical_not.default", (Value(1),)),
    Node("aten.isclose.default", (Value(1), Value(0))),
    Node("aten.to.dtype", (Value(1), DType("int64"))),
    Node("aten.to.dtype", (Value(1), DType("bool"))),
    Node("aten.div.Scalar_mode", (Value(1), 0.5), {"rounding_mode": "floor"}),
    Node("aten.round.decimals", (Value(1),), {"decimals": 2}),
]
FLOWS = [
    Node("aten.gelu.default", (Value(1),)),
    Node("aten.to.dtype", (Value(1), DType("float64"))),
    Node("aten.div.Scalar_mode", (Value(1), 0.5), {"rounding_mode": None}),
]


@pytest.mark.parametrize("node", [*JUMPS, *FLOWS], ids=str)
def test_a_layer_before_what_jumps_is_torchs_own(node: Node) -> None:
    graph = Graph((InputSpec("x", "float32", ("batch", 8)),), (LAYER, node), Value(2))
    _, kernels, _ = fuse(graph, {"w": packed(8, 8)}, {}.__getitem__, SHAPES)
    assert kernels == ({} if node in JUMPS else {"w": "w1a32"})


def test_a_constant_that_adds_dimensions_keeps_them() -> None:
    """Thresholds would forget them: a layer's result has the dimensions of its input."""

    def layer(first: int, weight: str) -> list[Node]:
        signs = [replace_values(node, first) for node in SIGNS]
        signs.append(Node("aten.sign.default", (TensorName(weight),)))
        product = Node("aten.linear.default", (Value(first + 3), Value(first + 4)))
        return [*signs, product, Node("aten.round.default", (Value(first + 5),))]

    scale = (
        Node("aten.abs.default", (TensorName("w"),)),
        Node("aten.amax.default", (Value(7), (1,), True)),
        Node("aten.reshape.default", (Value(8), (-1,))),
        Node("aten.mul.Tensor", (Value(6), Value(9))),
    )
    added = Node("aten.add.Tensor", (Value(10), TensorName("c")))
    nodes = (*layer(0, "w"), *scale, added, *layer(11, "v"))
    graph = Graph((InputSpec("x", "float32", ("batch", 8)),), nodes, Value(17))
    weights, x = {"w": packed(8, 8), "v": packed(4, 8)}, torch.randn(3, 8)
    for shape, dimensions in (((1, 1, 8), 3), ((8,), 2)):
        tensors = {"c": torch.randn(shape), "w": weights["w"](), "v": weights["v"]()}
        check = SizeCheck(graph, lambda name, known=tensors: known[name].to("meta"))
        fused, kernels, _ = fuse(graph, weights, tensors.__getitem__, check.shapes())
        assert set(kernels.values()) == {"w1a1"}
        assert len(fused.nodes) == (3 if dimensions == 2 else 5)
        found = Interpreter(fused, resolve_fused).run((x,), tensors.__getitem__)
        assert torch.equal(found, Interpreter(graph).run((x,), tensors.__getitem__))
        assert found.ndim == dimensions


def replace_values(node: Node, by: int) -> Node:
    """Let the node read values of higher numbers."""
    shifted = tuple(Value(arg.index + by) if isinstance(arg, Value) else arg for arg in node.args)
    return Node(node.op, shifted, node.kwargs)


@pytest.mark.parametrize("slope", [None, 0.0, 0.25])
@torch.no_grad()
def test_minus_infinity_goes_through_a_relu_and_a_prelu_as_in_torch(slope: float | None) -> None:
    """A ReLU makes 0 of it, a PReLU of slope 0 a NaN."""
    node = Node("aten.relu.default", (Value(1),))
    if slope is not None:
        node = Node("aten.prelu.default", (Value(1), TensorName("slope")))
    graph = Graph((InputSpec("x", "float32", ("batch", 8)),), (LAYER, node), Value(2))
    weight, x = packed(16, 8), torch.randn(3, 8)
    x[1, 5] = torch.inf
    tensors = {"w": weight(), "slope": torch.full((1,), slope or 0.0)}
    fused, _, _ = fuse(graph, {"w": weight}, tensors.__getitem__, SHAPES)
    found = Interpreter(fused, resolve_fused).run((x,), tensors.__getitem__)
    expected = Interpreter(graph).run((x,), tensors.__getitem__)
    assert expected[1].isnan().any() == (slope == 0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, equal_nan=True)
    if slope is None:
        assert not found.signbit().any()
