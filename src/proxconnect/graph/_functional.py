"""Replacement of operators that write in place by pure operators with the same result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from proxconnect.errors import ExportError

# Operators whose result may share memory with an argument although their schema does not declare it.
_SILENT_VIEWS = {
    "aten::dropout",
    "aten::feature_dropout",
    "aten::alpha_dropout",
    "aten::feature_alpha_dropout",
    "aten::einsum",
    "aten::type_as",
    "aten::pixel_shuffle",
    "aten::pixel_unshuffle",
    "aten::channel_shuffle",
    "aten::atleast_1d",
    "aten::atleast_2d",
    "aten::atleast_3d",
    "aten::broadcast_tensors",
    "aten::meshgrid",
    "aten::unsafe_chunk",
    "aten::unsafe_split",
    "aten::unsafe_split_with_sizes",
}


@dataclass
class Families:
    """The values of an exported graph that may share memory, node by node."""

    of: dict[torch.fx.Node, torch.fx.Node] = field(default_factory=dict)

    def root(self, node: torch.fx.Node) -> torch.fx.Node:
        """Return the node that stands for all nodes that share memory with ``node``."""
        while (parent := self.of.get(node, node)) is not node:
            node = parent
        return node

    def add(self, node: torch.fx.Node) -> None:
        """Join ``node`` to the arguments whose memory its result may share."""
        if _may_share(node.target):
            for argument in node.all_input_nodes:
                self.of[self.root(argument)] = self.root(node)

    def relatives(self, node: torch.fx.Node) -> list[torch.fx.Node]:
        """List the other nodes that may share memory with ``node``."""
        known = {member for pair in self.of.items() for member in pair}
        return [member for member in known if member is not node and self.root(member) is self.root(node)]


def _may_share(target: Any) -> bool:
    if not isinstance(target, torch._ops.OpOverload):
        return True
    return target._schema.name in _SILENT_VIEWS or any(r.alias_info for r in target._schema.returns)


def is_mutating(target: object) -> bool:
    """Tell whether a call target writes to one of its arguments."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def make_functional(graph: torch.fx.Graph, names: Mapping[str, str]) -> None:
    """Rewrite ``y = op_(x, ...)`` to ``y = op(x, ...)``, and later uses of ``x`` to ``y``, in place.

    The result is the same function if and only if nothing else reads the memory of ``x`` afterwards.

    Args:
        graph: a graph of torch.export.
        names: names of inputs, parameters and buffers by their nodes' names, for messages.

    Raises:
        ExportError: something else reads the memory of ``x``, ``x`` is an input, parameter or buffer, or the
            operator has no pure twin.
    """
    families = Families()
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if is_mutating(node.target):
            old = node.args[0]
            if not isinstance(old, torch.fx.Node):
                raise ExportError(f"operator {node.target} writes to a list of tensors")
            _refuse_shared(node, old, families, order, names)
            node.target = _pure_twin(node.target)
            old.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])  # noqa: B023
        families.add(node)


def _refuse_shared(
    node: torch.fx.Node,
    old: torch.fx.Node,
    families: Families,
    order: dict[torch.fx.Node, int],
    names: Mapping[str, str],
) -> None:
    relatives = families.relatives(old)
    for member in (old, *relatives):
        if member.op == "placeholder":
            raise ExportError(
                f"operator {node.target} writes in place to {names.get(member.name, member.name)!r}, "
                "which outlives the call"
            )
    for member in relatives:
        if any(order[user] > order[node] for user in member.users):
            raise ExportError(
                f"operator {node.target} writes in place to memory that {member.name!r} shows later"
            )


def _pure_twin(target: torch._ops.OpOverload) -> torch._ops.OpOverload:
    name = target._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    if name.endswith("_") and target._overloadname in (packet.overloads() if packet is not None else ()):
        twin: torch._ops.OpOverload = getattr(packet, target._overloadname)
        return twin
    raise ExportError(f"operator {target} writes in place and has no pure twin")
