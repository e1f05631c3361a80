"""Models become graphs that answer with the same bits, or are refused with the reason and the way out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from proxconnect.errors import ExportError, ProxConnectError
from proxconnect.graph import OPERATORS, Interpreter, capture, from_json, to_json


class Forward(nn.Module):
    """A model with a parameter, a buffer, and the forward that the test gives it."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.function = forward
        self.p = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("b", torch.zeros(3))
        self.register_buffer("hidden", torch.ones(3), persistent=False)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


class Residual(nn.Module):
    """Two convolutions with in-place activations and an option A shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding="same")
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.relu(self.bn1(self.conv1(x))))
        y += F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
        return self.fc(F.dropout(self.relu(y).mean((2, 3)), training=self.training))


class Attention(nn.Module):
    """Embedding, a transformer block, attention of one's own, and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.qkv = nn.Linear(8, 24)
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor) -> dict[str, Any]:
        x = self.embed(tokens) + torch.arange(tokens.shape[1], device=tokens.device)[None, :, None]
        x = self.block(x)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y, (h, c) = self.lstm(x)
        return {"tokens": y, "state": (h, [c])}


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in leaves(item)]
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, (list, tuple)) else [tree]


def tensors_of(model: nn.Module, constants: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers()), **constants}


def captured_run(model: nn.Module, example: Any, dynamic: Any = None) -> Callable[..., Any]:
    """Return the model's graph, written to JSON and read again, as a function."""
    captured = capture(model, example, dynamic)
    tensors = tensors_of(model, captured.constants)
    graph = from_json(to_json(captured.graph), captured.graph.inputs, tensors, captured.graph.sizes)
    assert graph == captured.graph
    return lambda *inputs: Interpreter(graph).run(inputs, tensors.__getitem__)


MODELS: list[tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = [
    (Residual, lambda n: (torch.randn(n, 3, 8, 8),)),
    (Attention, lambda n: (torch.randint(11, (n, 5)),)),
    (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.SiLU(), nn.Linear(4, 2)),
        lambda n: (torch.randn(n, 3, 4),),
    ),
    (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool1d(2)),
        lambda n: (torch.randn(n, 2, 9),),
    ),
    (lambda: nn.GRU(3, 4, 2, batch_first=True), lambda n: (torch.randn(n, 5, 3),)),
    (
        lambda: Forward(lambda m, x, y: (x @ y.transpose(1, 2), [x.shape[0] * 2, None])),
        lambda n: (torch.randn(n, 2, 3), torch.randn(n, 4, 3)),
    ),
    (
        lambda: Forward(lambda m, x: torch.where(x > 0, x * m.hidden, -torch.inf) + torch.tensor(2.0)),
        lambda n: (torch.randn(n, 3),),
    ),
    (
        lambda: Forward(
            lambda m, x: x.to(x.device, torch.float64).to("cpu").float() + torch.zeros(1, 3, device=x.device)
        ),
        lambda n: (torch.randn(n, 3),),
    ),
]


@pytest.mark.parametrize(("build", "inputs"), MODELS)
def test_a_graph_answers_with_the_bits_of_its_model(
    build: Callable[[], nn.Module], inputs: Callable[[int], tuple[Tensor, ...]]
) -> None:
    torch.manual_seed(0)
    model = build().eval().requires_grad_(False)
    fused = torch.backends.mha.get_fastpath_enabled()
    run = captured_run(model, inputs(1))
    assert torch.backends.mha.get_fastpath_enabled() == fused
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for batch in (1, 2, 7):
            x = inputs(batch)
            expected, found = model(*x), run(*x)
            assert type(expected) is type(found)
            for a, b in zip(leaves(expected), leaves(found), strict=True):
                assert torch.equal(a, b) if isinstance(a, Tensor) else a == b
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def test_one_tensor_twice_is_two_inputs() -> None:
    x = torch.ones(2, 3)
    run = captured_run(Forward(lambda m, a, b: a - 2 * b).eval(), (x, x))
    assert torch.equal(run(3 * x, x), x)


def test_named_sizes_vary_and_others_do_not() -> None:
    run = captured_run(Forward(lambda m, x: x.mean(1)).eval(), torch.ones(2, 5, 3), {0: {1: "time"}})
    assert run(torch.ones(1, 9, 3)).shape == (1, 3)
    with pytest.raises(
        ProxConnectError, match=r"input 'inputs_0' must be float32 of shape \[batch, time, 3\], got"
    ):
        run(torch.ones(1, 9, 4))


def test_regions_without_gradients_or_autocast_are_inlined() -> None:
    def forward(model: Forward, x: Tensor) -> Tensor:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            y = x * model.p
        return y + 1

    assert torch.equal(
        captured_run(Forward(forward).eval(), torch.ones(1, 3))(torch.ones(1, 3)), torch.tensor([[2.0, 3, 4]])
    )


def test_sound_writes_in_place_become_pure() -> None:
    def forward(model: Forward, x: Tensor) -> Tensor:
        y = (x + 1).view(-1, 3)
        y.mul_(2).relu_()
        y += x
        return y

    model = Forward(forward).eval()
    captured = capture(model, torch.ones(2, 3))
    assert every(node.op in OPERATORS for node in captured.graph.nodes)
    x = torch.randn(4, 3)
    kept = x.clone()
    assert torch.equal(
        Interpreter(captured.graph).run((x,), tensors_of(model, {}).__getitem__), model(x.clone())
    )
    assert torch.equal(x, kept)


def branch(model: Forward, x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 0 else x


def write_buffer(model: Forward, x: Tensor) -> Tensor:
    model.b += 1
    return x + model.b


def write_shown(model: Forward, x: Tensor) -> Tensor:
    y = x + 1
    y[:, 0].zero_()
    return y


def write_dropped(model: Forward, x: Tensor) -> Tensor:
    y = x + 1
    F.dropout(y, training=False).mul_(2)
    return y


REFUSED = [
    (branch, "depends on the values of a tensor"),
    (write_buffer, "add_.Tensor writes in place to 'b'"),
    (lambda m, x: x.mul_(2), "mul_.Tensor writes in place to 'inputs_0'"),
    (write_shown, "writes in place to memory that 'add' shows later"),
    (lambda m, x: x + torch.randn_like(x), "randn_like.default is not on the closed list"),
    (lambda m, x: x * x.sum().item(), "item.default is not on the closed list"),
    (lambda m, x: x if x.shape[0] == 1 else 2 * x, "at batch 1, its graph and the model disagree"),
    (lambda m, x: x.view(2, 3), "torch.export says"),
    (lambda m, x: F.dropout(x, training=True), "'train' must be off"),
    (lambda m, x: {1: x}, "a key that is not a string"),
]


@pytest.mark.parametrize(("forward", "reason"), REFUSED)
def test_what_a_graph_cannot_hold_is_refused_with_the_way_out(
    forward: Callable[..., Any], reason: str
) -> None:
    model = Forward(forward).eval()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ExportError, match=reason) as caught:
        capture(model, torch.rand(2, 3))
    assert "pc.load(path, model=your_model)" in str(caught.value)
    assert "pc.pack_(model)" in str(caught.value)
    assert "\n" not in str(caught.value)
    if forward is not write_buffer:
        assert same_tensors(model.state_dict(), before)


def test_a_write_through_dropout_is_refused_or_right() -> None:
    """PyTorch 2.14 captures it; older ones return what was there before it."""
    model, x = Forward(write_dropped).eval(), torch.rand(2, 3)
    if torch.__version__ < "2.14":
        with pytest.raises(ExportError, match="writes in place to memory that 'add' shows later"):
            capture(model, x)
    else:
        captured = capture(model, x)
        answer = Interpreter(captured.graph).run((x,), tensors_of(model, {}).__getitem__)
        assert torch.equal(answer, model(x))


@pytest.mark.parametrize(
    ("example", "dynamic", "reason"),
    [
        ((), None, "one tensor, a tuple of"),
        (torch.ones(()), None, "one tensor, a tuple of"),
        (("x",), None, "one tensor, a tuple of"),
        ((torch.ones(2, 3), torch.ones(3, 3)), None, r"one batch size of at least 1, found \[2, 3\]"),
        (torch.ones(0, 3), None, r"found \[0\]"),
        (torch.ones(2, 3), {3: {1: "n"}}, "dynamic names input 3"),
        (torch.ones(2, 3), {0: {0: "n"}}, "expected a dimension from 1"),
        (torch.ones(2, 3), {0: {1: "not a name"}}, "expected a dimension from 1"),
        (torch.ones(2, 3, dtype=torch.complex64), None, "dtype complex64"),
    ],
)
def test_bad_example_inputs_are_refused(example: Any, dynamic: Any, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        capture(Forward(lambda m, x, y=0: x + y).eval(), example, dynamic)
