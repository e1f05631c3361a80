"""Networks as data: graphs are captured from a model, checked against a closed list of operators, and run."""

from __future__ import annotations

from proxconnect.graph._convert import canonical_names
from proxconnect.graph._examples import Examples
from proxconnect.graph._named_sizes import Dynamic
from proxconnect.graph.calls import bound
from proxconnect.graph.capture import Capture, capture
from proxconnect.graph.graph import DType, Graph, MemoryFormat, Node, TensorName, Value
from proxconnect.graph.interpreter import Interpreter
from proxconnect.graph.operators import OPERATORS
from proxconnect.graph.serialize import from_json, to_json
from proxconnect.graph.sizes import MAX_BYTES, Shape, SizeCheck
from proxconnect.graph.timed import node_seconds
from proxconnect.graph.validate import validate

__all__ = [
    "MAX_BYTES",
    "OPERATORS",
    "Capture",
    "DType",
    "Dynamic",
    "Examples",
    "Graph",
    "Interpreter",
    "MemoryFormat",
    "Node",
    "Shape",
    "SizeCheck",
    "TensorName",
    "Value",
    "bound",
    "canonical_names",
    "capture",
    "from_json",
    "node_seconds",
    "to_json",
    "validate",
]
