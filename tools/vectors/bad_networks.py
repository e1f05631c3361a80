"""Files with a network that break one rule each, by the name of the rule."""

from __future__ import annotations

import json

from vectors.file import Change, Network, at, each, gone, nested, node, plain, stored, tensor

X = {"value": 0}

NETWORKS: dict[str, Change] = {
    # the inputs in the header
    "header-no-inputs": at("fields", "graph", "inputs", to=[]),
    "header-inputs-of-one-name": at(
        "fields", "graph", "inputs", to=[Network().fields["graph"]["inputs"][0]] * 2
    ),
    "header-input-without-a-batch": at("fields", "graph", "inputs", 0, "shape", to=[2, 3]),
    "header-input-of-another-name-for-the-batch": at("fields", "graph", "inputs", 0, "shape", to=["n", 3]),
    "header-sizes-of-the-batch": at(
        "fields", "graph", "sizes", to={"batch": {"least": 1, "most": None, "step": 1}}
    ),
    "header-sizes-that-end-before-they-begin": each(
        at("fields", "graph", "inputs", 0, "shape", to=["batch", "time"]),
        at("fields", "graph", "sizes", to={"time": {"least": 4, "most": 3, "step": 1}}),
    ),
    # the graph as data
    "graph-not-zlib": tensor("graph", "U8", [7], b"nothing"),
    "graph-of-two-dimensions": lambda file: tensor(
        "graph", "U8", [1, len(stored(plain(file.graph).encode()))], stored(plain(file.graph).encode())
    )(file),
    "graph-longer-than-declared": at("fields", "graph", "raw_bytes", to=10),
    "graph-followed-by-a-byte": lambda file: tensor(
        "graph",
        "U8",
        [1 + len(stored(plain(file.graph).encode()))],
        stored(plain(file.graph).encode()) + b"\0",
    )(file),
    "graph-begins-with-a-byte-order-mark": lambda file: at(
        "graph_bytes", to=b"\xef\xbb\xbf" + plain(file.graph).encode()
    )(file),
    "graph-in-utf-16": lambda file: at("graph_bytes", to=plain(file.graph).encode("utf-16"))(file),
    "graph-key-twice": lambda file: at(
        "graph_bytes", to=plain(file.graph).replace('"nodes"', '"output"').encode()
    )(file),
    "graph-without-an-output": gone("graph", "output"),
    "graph-node-of-two-parts": at("graph", "nodes", 1, to=["aten.relu.default", [{"value": 1}]]),
    "graph-unknown-operator": node("os.system", "ls"),
    "graph-operator-that-writes": node("aten.relu_.default", X),
    "graph-value-of-a-later-node": at("graph", "nodes", 0, 1, 0, "value", to=1),
    "graph-value-negative": at("graph", "nodes", 0, 1, 0, "value", to=-1),
    "graph-unknown-tensor": at("graph", "nodes", 0, 1, 1, "tensor", to="fc.weight.bits"),
    "graph-argument-with-two-keys": node("aten.relu.default", {"value": 0, "tensor": "mask"}),
    "graph-argument-beyond-64-bits": node("aten.flatten.using_ints", X, 2**63),
    "graph-argument-nested-51-deep": node("aten.cat.default", nested(51)),
    "graph-output-a-list": at("graph", "output", to=[{"value": 2}]),
    "graph-output-a-string": at("graph", "output", to="logits"),
    "graph-output-nested-51-deep": at(
        "graph", "output", to=json.loads('{"list":[' * 51 + '{"value":2}' + "]}" * 51)
    ),
    "graph-named-tuple-with-a-keyword": at(
        "graph", "output", to={"named_tuple": ["Out", [["class", {"value": 2}]]]}
    ),
    "graph-variants-of-the-same-inputs": at(
        "graph", "variants", to=[{"inputs": ["x"], "nodes": [], "output": {"value": 0}}]
    ),
    # the arguments of operators
    "operator-argument-missing": node("aten.relu.default"),
    "operator-argument-given-twice": node("aten.relu.default", X, self=X),
    "operator-argument-of-another-kind": node("aten.flatten.using_ints", X, 1.5),
    "operator-on-a-device": node("aten.zeros.default", [2], device="cuda"),
    "operator-in-training": node("aten.dropout.default", X, 0.5, True),
    "operator-getitem-of-a-tensor": node("getitem", X, 0),
    "operator-getitem-negative": at(
        "graph",
        to={
            "nodes": [["aten.chunk.default", [X, 3, 1], {}], ["getitem", [{"value": 1}, -1], {}]],
            "output": {"value": 2},
        },
    ),
    # what is found before anything runs
    "sizes-getitem-out-of-range": at(
        "graph",
        to={
            "nodes": [["aten.chunk.default", [X, 3, 1], {}], ["getitem", [{"value": 1}, 3], {}]],
            "output": {"value": 2},
        },
    ),
    "sizes-relu-of-a-number": node("aten.relu.default", 2.5),
    "sizes-do-not-fit": at("graph", "nodes", 0, 1, 1, "tensor", to="fc.bias"),
    "sizes-of-one-batch-alone": node("aten.reshape.default", X, [2, 3]),
    "sizes-index-of-bools": node("aten.index.Tensor", X, [{"tensor": "mask"}]),
    "sizes-of-20-gigabytes": node("aten.zeros.default", [5000, 1000, 1000]),
    "sizes-argument-beyond-2-to-the-31": node("aten.zeros.default", [0, 2**31]),
    "sizes-division-by-zero": node("integer.floordiv", 1, 0),
}
