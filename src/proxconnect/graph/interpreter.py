"""The interpreter, which runs a graph over tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from proxconnect.base.eager import traced, watched
from proxconnect.errors import ProxConnectError
from proxconnect.format import InputSpec, torch_dtype
from proxconnect.graph.graph import Graph, Node, TensorName, Value, leaves, map_leaves
from proxconnect.graph.operators import resolve
from proxconnect.graph.validate import concrete

Lookup = Callable[[str], Tensor]
Observer = Callable[[Node, Sequence[Any], Any], None]


class Interpreter:
    """Calls the operators of a graph in order, and drops each value after its last use.

    Args:
        graph: a validated graph.
        functions: returns the function of an operator's name; by default from the closed list.
        check: called before each run with the varying sizes of the inputs, but not while a compiler traces.

    >>> from proxconnect.graph import Graph, Node
    >>> spec = InputSpec("x", "float32", ("batch",))
    >>> graph = Graph((spec,), (Node("aten.neg.default", (Value(0),)),), Value(1))
    >>> Interpreter(graph).run((torch.ones(2),), lambda name: torch.zeros(()))
    tensor([-1., -1.])
    """

    def __init__(
        self,
        graph: Graph,
        functions: Callable[[str], Callable[..., Any]] = resolve,
        check: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        self.graph = graph
        self._check = check
        self._steps = [_step(node, functions(node.op)) for node in graph.nodes]
        self._dead = _last_uses(graph)

    def run(self, inputs: Sequence[Tensor], lookup: Lookup, observe: Observer | None = None) -> Any:
        """Compute the output of the network for ``inputs``.

        Args:
            inputs: one tensor per input of the graph, batch first.
            lookup: returns the tensor of a name; called at each use, and the tensor is not kept.
            observe: called after each operator with its node, its positional arguments and its result.

        Raises:
            ProxConnectError: number, dtype or sizes of the inputs do not fit the graph, or an operator
                refuses its arguments; the message names the operator.
        """
        if not traced():
            sizes = check_inputs(self.graph, inputs)
            if self._check is not None and not watched():
                self._check(sizes)
        values: dict[int, Any] = dict(enumerate(inputs))
        first, dead, call = len(inputs), self._dead, self.call

        def concrete_leaf(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return values[leaf.index]
            return lookup(leaf.name) if isinstance(leaf, TensorName) else leaf

        for i, (node, function, takes_device, places, names) in enumerate(self._steps, start=first):
            args: Sequence[Any]
            if places is None:
                args = map_leaves(concrete_leaf, node.args)
                kwargs = map_leaves(concrete_leaf, node.kwargs)
            else:
                args, kwargs = list(node.args), {}
                for position, index in places:
                    args[position] = values[index]
                for position, name in names:
                    args[position] = lookup(name)
            if takes_device:
                kwargs["device"] = inputs[0].device
            try:
                values[i] = call(function, args, kwargs)
            except Exception as error:  # torch's operators raise many kinds
                raise _named(error, i - first, node) from error
            if observe is not None:
                observe(node, args, values[i])
            del args, kwargs
            if i in dead:
                for index in dead[i]:
                    del values[index]
        return map_leaves(concrete_leaf, self.graph.output)

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call one operator and return its result."""
        return function(*args, **kwargs)


class _Step(NamedTuple):
    """A node that is ready to run.

    ``values`` and ``names`` are the positions of values and tensors among the arguments; ``values`` is None
    if some lie inside of other arguments.
    """

    node: Node
    function: Callable[..., Any]
    takes_device: bool
    values: list[tuple[int, int]] | None
    names: list[tuple[int, str]]


def _step(node: Node, function: Callable[..., Any]) -> _Step:
    ready = Node(node.op, map_leaves(concrete, node.args), map_leaves(concrete, dict(node.kwargs)))
    places = list(enumerate(node.args))
    inside = [
        argument for argument in (*node.args, node.kwargs) if isinstance(argument, (tuple, list, Mapping))
    ]
    flat = not node.kwargs and not any(isinstance(leaf, (Value, TensorName)) for leaf in leaves(inside))
    return _Step(
        ready,
        function,
        _takes_device(function),
        [(place, value.index) for place, value in places if isinstance(value, Value)] if flat else None,
        [(place, tensor.name) for place, tensor in places if isinstance(tensor, TensorName)],
    )


def _named(error: Exception, position: int, node: Node) -> ProxConnectError:
    """Make an error that names the operator which raised ``error``, with the first line of its message."""
    kind = type(error) if isinstance(error, ProxConnectError) else ProxConnectError
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return kind(f"graph node {position} ({node.op}): {text}")


def check_inputs(graph: Graph, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Check the inputs, and return their varying sizes by name.

    Raises:
        ProxConnectError: the inputs do not fit the graph.
    """
    if len(inputs) != len(graph.inputs):
        names = ", ".join(spec.name for spec in graph.inputs)
        raise ProxConnectError(f"the network takes {len(graph.inputs)} inputs ({names}), got {len(inputs)}")
    sizes: dict[str, int] = {}
    for spec, tensor in zip(graph.inputs, inputs, strict=True):
        if not isinstance(tensor, Tensor):
            raise ProxConnectError(
                f"input {spec.name!r} must be a tensor, {_wanted(spec, graph)}, not {type(tensor).__name__}"
            )
        if tensor.layout != torch.strided:
            kind = str(tensor.layout).removeprefix("torch.")
            raise ProxConnectError(f"input {spec.name!r} is {kind}; expected a dense tensor: x.to_dense()")
        fits = tensor.dtype == torch_dtype(spec.dtype) and tensor.ndim == len(spec.shape)
        for size, expected in zip(tensor.shape, spec.shape, strict=False):
            if isinstance(expected, str):
                fits = fits and size == sizes.setdefault(expected, size) and size > 0
                fits = fits and (expected not in graph.sizes or size in graph.sizes[expected])
            else:
                fits = fits and size == expected
        if not fits:
            found = f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
            raise ProxConnectError(f"input {spec.name!r} must be {_wanted(spec, graph)}, got {found}")
    return sizes


def _wanted(spec: InputSpec, graph: Graph) -> str:
    bounds = [f"{name} {sizes}" for name, sizes in graph.sizes.items() if name in spec.shape]
    return ", ".join([f"{spec.dtype} of shape [{', '.join(map(str, spec.shape))}]", *bounds])


def _takes_device(function: Callable[..., Any]) -> bool:
    """Tell whether the operator makes a tensor out of nothing, which belongs on the device of the inputs."""
    if not isinstance(function, torch._ops.OpOverload):
        return False
    types = [str(argument.real_type) for argument in function._schema.arguments]
    return "Optional[Device]" in types and "Tensor" not in types


def _last_uses(graph: Graph) -> dict[int, list[int]]:
    """List, for the number of each node, the values that nothing reads after it."""
    offset = len(graph.inputs)
    last = {index: index for index in range(offset, offset + len(graph.nodes))}
    for i, node in enumerate(graph.nodes, start=offset):
        last |= {leaf.index: i for leaf in leaves((node.args, node.kwargs)) if isinstance(leaf, Value)}
    for leaf in leaves(graph.output):
        if isinstance(leaf, Value):
            last.pop(leaf.index, None)
    dead: dict[int, list[int]] = {}
    for index, i in last.items():
        dead.setdefault(i, []).append(index)
    return dead
