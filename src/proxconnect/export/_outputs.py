"""Names for the tensors of a network's output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxconnect.graph import Graph, TensorName, Value


def output_names(graph: Graph) -> list[str]:
    """Name the tensors of the output, in order: by their keys and positions, ``"output"`` for a single one.

    >>> from proxconnect.format import InputSpec
    >>> spec = InputSpec("x", "float32", ("batch",))
    >>> output_names(Graph((spec,), (), {"logits": Value(0), "states": (Value(0), Value(0))}))
    ['logits', 'states_0', 'states_1']
    """
    names = list(_named("", graph.output))
    taken = set(graph.names)
    return [f"{name}_output" if name in taken else name for name in names]


def _named(prefix: str, tree: Any) -> Iterator[str]:
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    match tree:
        case dict():
            parts = list(tree.items())
        case tuple() | list():
            parts = [(str(i), part) for i, part in enumerate(tree)]
        case Value() | TensorName():
            yield prefix or "output"
            return
        case _:
            return
    for name, part in parts:
        start = prefix or ("output" if name.isdigit() else "")
        yield from _named(f"{start}_{name}".lstrip("_"), part)
