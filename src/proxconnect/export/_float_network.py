"""A network as a plain module over its graph, for the tracers of other runtimes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from proxconnect.errors import ExportError
from proxconnect.export._source import LevelWeight, Source
from proxconnect.graph import Interpreter
from proxconnect.graph.graph import leaves
from proxconnect.graph.operators import resolve

# From codes (n, ...), int8, and scales (n,): what to hold of both, and the function that multiplies these.
Unpacking = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]]


class FloatNetwork(nn.Module):
    """A module that runs the graph of ``source`` with PyTorch's own operators and returns a tuple of tensors.

    Weights and tensors are buffers under their own names; the scales of a weight are ``<name>_scale``.

    Args:
        source: the network.
        unpacking: how weights are held and multiplied by their scales; None for weights that are unpacked
            once, when the module is made.
        functions: returns the function of an operator's name.
    """

    def __init__(
        self,
        source: Source,
        unpacking: Unpacking | None,
        functions: Callable[[str], Callable[..., Any]] = resolve,
    ) -> None:
        super().__init__()
        self._interpreter = Interpreter(source.graph, functions)
        self._weights: dict[str, Callable[[], Tensor]] = {}
        for name, tensor in sorted(source.tensors.items(), key=lambda item: item[0]):
            self._weights[name] = self._held(name, tensor)
        for name, weight in sorted(source.weights.items(), key=lambda item: item[0]):
            if unpacking is None:
                self._weights[name] = self._held(name, weight.weight())
            else:
                self._weights[name] = self._unpacked(name, weight, unpacking)
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the tensors of the network's output, in order."""
        found: dict[str, Tensor] = {}

        def lookup(name: str) -> Tensor:
            if name not in found:
                found[name] = self._weights[name]()
            return found[name]

        return tuple(
            leaf for leaf in leaves(self._interpreter.run(inputs, lookup)) if isinstance(leaf, Tensor)
        )

    def _unpacked(self, name: str, weight: LevelWeight, unpacking: Unpacking) -> Callable[[], Tensor]:
        rows = weight.rows
        codes, scale = weight.codes, weight.scale.reshape(-1)
        if rows.group is not None:  # one row for each scale
            codes = rows.members(rows.turned(codes), weight.scale.shape).flatten(0, 1)
        codes, scale, multiply = unpacking(codes.contiguous(), scale.expand(len(codes)).contiguous())
        held, scales = self._held(name, codes), self._held(f"{name}_scale", scale)

        def unpacked() -> Tensor:
            found = multiply(held(), scales())
            if rows.group is not None:  # the last group of a row may be padded
                out, *inputs = rows.row_shape
                found = found.reshape(out, -1)[:, : math.prod(inputs)].reshape(out, *inputs)
            return rows.turned(found)

        return unpacked

    def _held(self, name: str, tensor: Tensor) -> Callable[[], Tensor]:
        """Register a buffer under a dotted name, and return the function that reads it."""
        *path, attribute = name.split(".")
        owner: nn.Module = self
        try:
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            owner.register_buffer(attribute, tensor.clone())
        except (KeyError, AttributeError) as error:
            raise ExportError(f"tensor {name!r}: not a name that can be exported: {error}") from None
        return lambda: getattr(owner, attribute)
