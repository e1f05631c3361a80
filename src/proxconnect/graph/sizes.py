"""The shapes of a graph's values, found without running it, and the limit of their memory and operations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import InputSpec, SizeRange, torch_dtype
from proxconnect.graph._meter import Meter
from proxconnect.graph._operator_rules import apply_rules
from proxconnect.graph.graph import Graph, Node
from proxconnect.graph.interpreter import Interpreter

MAX_BYTES = 2**32
_MOST_REMEMBERED = 1024
# If sizes other than the batch vary, the network is tried at these sizes in order.
_CANDIDATES = (2, 3, 4, 7, 8, 16, 31, 32, 64, 96, 128, 224, 256, 384, 512, 1024, 4096, 16_000)

Sizes: TypeAlias = Mapping[str, int]
# The sizes of a float32 value at two calls in which all varying sizes differ: equal sizes do not vary.
Shape: TypeAlias = tuple[tuple[int, int], ...]
_Form: TypeAlias = tuple[torch.dtype, tuple[int, ...]] | None


class SizeCheck:
    """A run of a graph on tensors without data ("meta" tensors), which refuses calls that cannot be run.

    Args:
        graph: a validated graph.
        stand_in: returns a meta tensor like the network's tensor of a name.
        max_bytes: the largest number of bytes that the values of one sample may take at once; None for no
            limit. A sample may take 16,384 operations for each byte.

    >>> from proxconnect.graph import Node, Value
    >>> node = Node("aten.repeat.default", (Value(0), (10**6, 1)))
    >>> graph = Graph((InputSpec("x", "float32", ("batch", 8)),), (node,), Value(1))
    >>> SizeCheck(graph, torch.empty, 10**8).shapes()
    {0: ((2, 3), (8, 8)), 1: ((2000000, 3000000), (8, 8))}
    >>> SizeCheck(graph, torch.empty, 10**6).shapes()
    Traceback (most recent call last):
    proxconnect.errors.FormatError: graph node 0 (aten.repeat.default): its values take 64000064 bytes ...
    """

    def __init__(
        self, graph: Graph, stand_in: Callable[[str], Tensor], max_bytes: int | None = MAX_BYTES
    ) -> None:
        self.graph = graph
        self._stand_in = stand_in
        self._max_bytes = max_bytes
        self._passed: set[tuple[int, ...]] = set()
        self._inference = _Inference(graph)

    def __call__(self, sizes: Sizes) -> None:
        """Check a call of the network with these sizes, unless they were checked before.

        Raises:
            FormatError: an operator refuses its arguments, or the values exceed the limit.
        """
        key = tuple(sizes.values())
        if key not in self._passed:
            self._infer(sizes)
            if len(self._passed) >= _MOST_REMEMBERED:
                self._passed.clear()
            self._passed.add(key)

    def shapes(self) -> dict[int, Shape]:
        """Find the shapes of the float32 values, by their numbers.

        Raises:
            FormatError: the network runs at none of the sizes that were tried, or its values exceed the
                limit.
        """
        values = {name: _candidates(self.graph.sizes.get(name, SizeRange())) for name in self._varying()}
        first, one = self._first_that_runs({"batch": 2, **alike} for alike in _alike(values))
        others = [{"batch": 3, **different} for different in _different(values, first)]
        _, other = self._first_that_runs([*others, {**first, "batch": 3}])
        return {
            index: tuple(zip(a[1], b[1], strict=True))
            for index, (a, b) in enumerate(zip(one, other, strict=True))
            if a and b and a[0] == b[0] == torch.float32 and len(a[1]) == len(b[1])
        }

    def _varying(self) -> list[str]:
        """List the names of the sizes that vary, without the batch."""
        sizes = [size for spec in self.graph.inputs for size in spec.shape]
        return sorted({size for size in sizes if isinstance(size, str)} - {"batch"})

    def _first_that_runs(self, tries: Iterable[dict[str, int]]) -> tuple[dict[str, int], list[_Form]]:
        failure: FormatError | None = None
        for sizes in tries:
            try:
                return sizes, self._infer(sizes)
            except FormatError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _infer(self, sizes: Sizes) -> list[_Form]:
        """Find dtype and shape of every value that is a tensor."""
        meter = Meter(None if self._max_bytes is None else self._max_bytes * sizes.get("batch", 1))
        forms: list[_Form] = []

        def note(node: Node | None, args: Sequence[Any], result: Any) -> None:
            forms.append((result.dtype, tuple(result.shape)) if isinstance(result, Tensor) else None)

        # In inference mode, torch would import sympy for its convolutions: 34 MiB, and a second.
        with _disable_current_modes(), torch.inference_mode(False), torch.no_grad(), meter:
            try:
                inputs = [_input(spec, sizes) for spec in self.graph.inputs]
                for x in inputs:
                    note(None, (), x)
                self._inference.metered(meter).run(inputs, self._stand_in, note)
            except (ProxConnectError, RuntimeError) as error:
                sizes_text = ", ".join(f"{name} {size}" for name, size in sizes.items())
                raise FormatError(f"{error}, for {sizes_text}") from None
        return forms


class _Inference(Interpreter):
    """An interpreter for tensors without data, which applies the rules for arguments first."""

    _meter: Meter

    def metered(self, meter: Meter) -> _Inference:
        """Return this interpreter with a meter of its own; several threads may run one graph."""
        twin = copy.copy(self)
        twin._meter = meter
        return twin

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(function, torch._ops.OpOverload):
            result = apply_rules(function, args, kwargs, self._meter.count)
            return function(*args, **kwargs) if result is None else result
        result = function(*args, **kwargs)
        if type(result) is int and not -(2**63) <= result < 2**63:
            raise FormatError(f"the result is a whole number of {result.bit_length()} bits; expected 64")
        return result


def _input(spec: InputSpec, sizes: Sizes) -> Tensor:
    shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
    return torch.empty(shape, dtype=torch_dtype(spec.dtype), device="meta")


def _candidates(sizes: SizeRange) -> list[int]:
    """List the values of a size to try; the values at which most networks run come first."""
    near = [sizes.least + i * sizes.step for i in range(4)]
    ends = [] if sizes.most is None else [sizes.most]
    found = sorted({size for size in (*near, *ends, *_CANDIDATES) if size in sizes})
    return found[1:] + found[:1] if found[0] == 1 else found


def _alike(values: Mapping[str, Sequence[int]]) -> Iterator[dict[str, int]]:
    for i in range(max(map(len, values.values()), default=1)):
        yield {name: sizes[min(i, len(sizes) - 1)] for name, sizes in values.items()}


def _different(values: Mapping[str, Sequence[int]], first: Sizes) -> Iterator[dict[str, int]]:
    """Yield sizes that differ from the first sizes, and from each other if several vary."""
    for start in range(max(map(len, values.values()), default=0)):
        found = {name: sizes[(start + i) % len(sizes)] for i, (name, sizes) in enumerate(values.items())}
        if all(len(sizes) == 1 or found[name] != first[name] for name, sizes in values.items()):
            yield found
    yield from (sizes for sizes in _alike(values) if sizes != first)
