"""Reading a graph is total: any JSON is a graph that follows the rules, or one FormatError."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import InputSpec
from proxconnect.graph import (
    DType,
    Graph,
    Interpreter,
    MemoryFormat,
    Node,
    TensorName,
    Value,
    from_json,
    to_json,
)
from proxconnect.graph.graph import named_tuple

INPUTS = (InputSpec("x", "float32", ("batch", 3)), InputSpec("y", "float32", ("batch", 3)))
GRAPH = Graph(
    INPUTS,
    (
        Node("aten.linear.default", (Value(0), TensorName("w"), None)),
        Node("aten.chunk.default", (Value(2), 2, 1)),
        Node("getitem", (Value(3), 1)),
        Node("aten.sym_size.int", (Value(1), 0)),
        Node("integer.mul", (Value(5), 1)),
        Node("aten.view.default", (Value(4), (Value(6), -1))),
        Node("aten.to.dtype", (Value(7), DType("float64"))),
        Node("aten.clone.default", (Value(8),), {"memory_format": MemoryFormat("contiguous_format")}),
        Node("aten.clamp.default", (Value(9), float("-inf"), 1)),
    ),
    {"out": (Value(10), [Value(5), None, 2.5])},
)


def test_json_restores_the_graph() -> None:
    assert from_json(to_json(GRAPH), INPUTS, {"w"}) == GRAPH
    out = Interpreter(GRAPH).run((torch.ones(2, 3), torch.ones(2, 3)), lambda name: torch.ones(4, 3))
    assert out["out"][0].dtype == torch.float64
    assert out["out"][1] == [2, None, 2.5]


def node(op: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"nodes": [[op, list(args), kwargs]], "output": {"value": 2}}


X, Y = {"value": 0}, {"value": 1}


def named(name: str, fields: Any) -> Any:
    return {"nodes": [], "output": {"named_tuple": [name, fields]}}


def variants(of: Any) -> Any:
    return {"nodes": [], "output": X, "variants": of}


def test_variants_are_graphs_of_fewer_inputs() -> None:
    part = Graph(INPUTS[1:], (Node("aten.relu.default", (Value(0),)),), (Value(1),))
    graph = replace(GRAPH, sizes={}, variants=(part,))
    assert from_json(to_json(graph), INPUTS, {"w"}) == graph


def test_named_tuples_keep_their_names() -> None:
    output = named_tuple("Out", ("logits", "hidden"))(Value(0), [None])
    found = from_json(to_json(Graph(INPUTS, (), output)), INPUTS, ()).output
    assert (found, found._fields, type(found)) == (output, output._fields, type(output))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "expected an object"),
        ({"nodes": 3, "output": X}, "expected an object"),
        ({"nodes": [], "output": X, "more": 1}, "expected an object"),
        ({"nodes": [["aten.relu.default", [X]]], "output": X}, "node 0: expected"),
        (node("os.system", "ls"), "not on the closed list"),
        (node("aten.relu_.default", X), "not on the closed list"),
        (node("aten.relu.default"), "argument 'self' is missing"),
        (node("aten.relu.default", X, Y), "2 arguments, at most 1"),
        (node("aten.relu.default", X, inplace=True), "'inplace' is unknown"),
        (node("aten.relu.default", X, self=X), "unknown or given twice"),
        (node("aten.relu.default", {"value": 2}), "value 2 is not defined before"),
        (node("aten.relu.default", {"value": -1}), "value -1 is not defined"),
        (node("aten.relu.default", {"value": True}), "unknown argument"),
        (node("aten.relu.default", {"value": 0, "x": 1}), "unknown argument"),
        (node("aten.relu.default", {"tensor": "v"}), "no tensor 'v'"),
        (node("aten.relu.default", "x"), "argument 'self': expected Tensor"),
        (node("aten.flatten.using_ints", X, 1.5), "argument 'start_dim': expected int"),
        (node("aten.flatten.using_ints", X, True), "argument 'start_dim': expected int"),
        (node("aten.flatten.using_ints", X, 2**63), "unknown argument"),
        (node("aten.to.dtype", X, {"dtype": "complex64"}), "argument 'dtype'"),
        (node("aten.clone.default", X, memory_format={"memory_format": "__doc__"}), "memory_format"),
        (node("aten.zeros.default", [2], device="cuda"), "argument 'device'"),
        (node("aten.cat.default", [X, 3.5, "a"]), "argument 'tensors'"),
        (node("aten.dropout.default", X, 0.5, True), "'train' must be off"),
        (
            node("aten.batch_norm.default", X, None, None, {"tensor": "w"}, None, True, 0.1, 1e-5, False),
            "'training' must be off",
        ),
        (
            node(
                "aten.instance_norm.default",
                X,
                None,
                None,
                {"tensor": "w"},
                {"tensor": "w"},
                True,
                0.1,
                1e-5,
                False,
            ),
            "'use_input_stats' must be off",
        ),
        (node("aten.rrelu.default", X, 0.1, 0.3, True), "'training' must be off"),
        (node("aten.scaled_dot_product_attention.default", X, X, X, None, 0.5), "'dropout_p' must be off"),
        (node("getitem", X, 0), "expected a result that is a tuple"),
        (node("getitem", X), "expected a result that is a tuple"),
        (node("integer.add", X, 1), "expected 2 whole numbers"),
        (node("integer.add", 1), "expected 2 whole numbers"),
        ({"nodes": [], "output": {"value": 2}}, "value 2 is not defined"),
        ({"nodes": [], "output": [X]}, "graph output: expected"),
        ({"nodes": [], "output": {"dict": [[1, X]]}}, "expected .key, value."),
        ({"nodes": [], "output": "text"}, "neither a value nor a number"),
        (named("Out", [["a", X], ["a", X]]), "ASCII identifiers, each once"),
        (named("Out", [["_a", X]]), "ASCII identifiers"),
        (named("Out", [["class", X]]), "ASCII identifiers"),
        (named("Out", [["\N{LATIN SMALL LIGATURE FI}", X]]), "ASCII identifiers"),
        (named("os.system", [["a", X]]), "ASCII identifiers"),
        (named("Out", [["a", [X]]]), "expected a value, tuple, list or dict"),
        (variants(3), "a list of at most 7"),
        (variants([{}] * 8), "a list of at most 7"),
        (variants([{"nodes": [], "output": X}]), "variant 0: expected the names of some of the inputs"),
        (variants([{"inputs": ["y", "x"], "nodes": [], "output": X}]), "in their order"),
        (variants([{"inputs": ["z"], "nodes": [], "output": X}]), "names of some of the inputs"),
        (variants([{"inputs": [], "nodes": [], "output": X}]), "names of some of the inputs"),
        (variants([{"inputs": ["x", "y"], "nodes": [], "output": X}]), "two have the same inputs"),
        (variants([{"inputs": ["x"], "nodes": [], "output": X}] * 2), "two have the same inputs"),
        (variants([{"inputs": ["x"], "nodes": [], "output": Y}]), "value 1 is not defined"),
        (variants([{"inputs": ["x"], "nodes": [["os.system", [], {}]], "output": X}]), "closed list"),
        (variants([{"inputs": ["x"], "nodes": [], "output": X, "variants": []}]), "variant 0: expected"),
        (node("aten.cat.default", json.loads("[" * 200 + "]" * 200)), "lists are nested more than 50 deep"),
        (
            {"nodes": [], "output": json.loads('{"list":[' * 51 + "1" + "]}" * 51)},
            "output: it is nested more than 50 deep",
        ),
    ],
)
def test_a_graph_that_breaks_a_rule_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        from_json(json.dumps(fields).encode(), INPUTS, {"w"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b'{"nodes":[],"nodes":[]}',
        b"NaN",
    ],
)
def test_bytes_that_are_not_strict_json_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"graph: not (valid JSON|UTF-8)"):
        from_json(data, INPUTS, ())


def test_a_graph_needs_an_input() -> None:
    with pytest.raises(FormatError, match="at least one input"):
        from_json(b'{"nodes":[],"output":null}', (), ())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.ones(2, 3),), r"takes 2 inputs \(x, y\), got 1"),
        ((torch.ones(2, 3), 3), "'y' must be a tensor"),
        (
            (torch.ones(2, 3), torch.ones(2, 3).double()),
            r"'y' must be float32 .* got float64 of shape \[2, 3\]",
        ),
        ((torch.ones(2, 3), torch.ones(2, 3, 1)), "'y' must be"),
        ((torch.ones(2, 3), torch.ones(4, 3)), "'y' must be"),
        ((torch.ones(0, 3), torch.ones(0, 3)), "'x' must be"),
    ],
)
def test_inputs_are_checked(inputs: Any, message: str) -> None:
    with pytest.raises(ProxConnectError, match=message):
        Interpreter(GRAPH).run(inputs, lambda name: torch.ones(4, 3))


def test_values_are_dropped_after_their_last_use() -> None:
    nodes = tuple(Node("aten.add.Tensor", (Value(i + 1), 1)) for i in range(5))
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def observe(node: Node, args: Any, result: torch.Tensor) -> None:
        made.append(weakref.ref(result))
        alive.append(sum(ref() is not None for ref in made))

    Interpreter(Graph(INPUTS, nodes, Value(6))).run((torch.ones(1, 3), torch.ones(1, 3)), torch.ones, observe)
    assert alive == [1, 2, 2, 2, 2]


FIELDS = json.loads(to_json(GRAPH))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["w", "value", "tensor", "aten.relu.default"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "dict", "dtype"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(FIELDS)[1:]), JSON)
def test_any_change_is_refused_or_read_as_written(path: tuple[Any, ...], value: Any) -> None:
    fields = json.loads(json.dumps(FIELDS))
    place = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        graph = from_json(json.dumps(fields).encode(), INPUTS, {"w"})
    except FormatError:
        return
    assert json.loads(to_json(graph)) == fields
