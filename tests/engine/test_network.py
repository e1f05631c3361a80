"""A packed file as a network: whatever names its tensors have, it runs or is refused with a FormatError."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from looking import every

from proxconnect.engine import Network
from proxconnect.errors import FormatError
from proxconnect.format import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    InputSpec,
    PackedFile,
    compressed_graph,
    decode,
    encode,
)
from proxconnect.graph import Graph, Node, TensorName, Value, to_json

SPEC = InputSpec("x", "float32", ("batch", 3))


def network_file(weight: str, bias: str) -> PackedFile:
    """Pack a linear layer whose binary weight and dense bias have these names."""
    nodes = (Node("aten.linear.default", (Value(0), TensorName(weight), TensorName(bias))),)
    raw = to_json(Graph((SPEC,), nodes, Value(1)))
    header = Header(
        "1",
        "bc",
        "bw",
        binary={weight: BinaryTensor((2, 3))},
        dense={bias: DenseTensor((2,), "float32", "parameter")},
        graph=GraphInfo(len(raw), (SPEC,)),
    )
    tensors = {
        f"{weight}.bits": torch.tensor([[5], [2]], dtype=torch.uint8),
        f"{weight}.scale": torch.tensor([[0.5], [0.25]], dtype=torch.float16),
        bias: torch.tensor([1.0, 2.0]),
        "graph": compressed_graph(raw),
    }
    return PackedFile(header, tensors)


def check(net: Network) -> None:
    assert net(torch.tensor([[1.0, 2.0, 4.0]])).tolist() == [[2.5, 1.25]]


NAMES = st.sampled_from(
    ["", ".", "a", "a.b", "a..b", "training", "forward", "weight", "weight.bits", "é"]
) | st.text(max_size=3)


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES)
@example("weight", "weight")
@example("a", "a.b")
@example("a.b", "a")
@example("a", "a.scale")
@example("_modules", "x")
@example("a.__class__", "x.__dict__.y")
def test_any_names_run_or_are_refused(weight: str, bias: str) -> None:
    try:
        net = Network(decode(encode(network_file(weight, bias))), kernels="reference")
    except FormatError:
        return
    check(net)


def test_parameters_buffers_and_packed_weights_have_their_own_names() -> None:
    net = Network(network_file("fc.weight", "fc.bias"))
    check(net)
    assert set(net.model.state_dict()) == {"fc.weight.bits", "fc.weight.scale", "fc.bias"}
    assert not net.model.fc.bias.requires_grad


def test_weights_are_unpacked_only_while_they_are_used() -> None:
    net = Network(network_file("fc.weight", "fc.bias"), kernels="reference")
    before = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    check(net)
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == before
    assert every(
        not isinstance(value, torch.Tensor) for module in net.modules() for value in vars(module).values()
    )


def test_a_name_that_no_module_can_have_is_named() -> None:
    with pytest.raises(FormatError, match="tensor 'forward': not a name"):
        Network(network_file("fc.weight", "forward"))
