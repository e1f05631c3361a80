"""Capture of a model as a graph, through torch.export, with a check against the model itself."""

from __future__ import annotations

import itertools
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from proxconnect.errors import ExportError, FormatError
from proxconnect.format import InputSpec, SizeRange
from proxconnect.format.header import DTYPES
from proxconnect.graph._convert import convert
from proxconnect.graph._examples import Example, Examples, call, named_examples, resized, without
from proxconnect.graph._named_sizes import Dynamic, NamedSizes, example_sizes, named_sizes
from proxconnect.graph._outputs import plain
from proxconnect.graph._varying import found_sizes
from proxconnect.graph.graph import Graph, Node, TensorName, leaves, map_leaves
from proxconnect.graph.interpreter import Interpreter
from proxconnect.graph.sizes import SizeCheck
from proxconnect.graph.validate import validate

_WAY_OUT = (
    "Way out: pc.save(model, path) without example_inputs writes the weights alone and "
    "pc.load(path, model=your_model) reads them; or run the model in place after pc.pack_(model)"
)
# If more inputs may be left out, the network takes all of them: there would be too many graphs.
_MOST_OPTIONAL = 3


@dataclass(frozen=True)
class Capture:
    """A graph, and the tensors that it reads beyond the model's parameters and persistent buffers."""

    graph: Graph
    constants: dict[str, Tensor]


def capture(model: nn.Module, example_inputs: Examples, dynamic: Dynamic | None = None) -> Capture:
    """Capture the graph of ``model`` in eval mode; the batch, dimension 0 of every input, may have any size.

    The graph is run beside the model at batches 1 and 3, and at other sizes if sizes vary, and must give the
    same bits. If the model runs without some of up to three inputs that have a default, the graph has a
    variant for each choice of them.

    Args:
        model: a module in eval mode whose forward takes tensors; it stays as it is.
        example_inputs: a tensor, a tuple of one tensor for each argument of the forward, or a dict of tensors
            by name, all of one batch size; None stands for an argument that is left out.
        dynamic: names of further sizes that may vary, for all inputs, ``{dimension: "name"}``, or for one,
            ``{input index or name: {dimension: "name"}}``. A name may come with its least and greatest size,
            ``("height", 32, 512)``; without them, the sizes are those that the model takes.

    Raises:
        ExportError: the model cannot be captured; the message has the reason and the way out.

    >>> captured = capture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))
    >>> [node.op for node in captured.graph.nodes]
    ['aten.linear.default', 'aten.relu.default']
    """
    try:
        examples = named_examples(model, example_inputs)
        named = named_sizes(examples, dynamic or {})
        with torch.no_grad(), _quiet():
            whole = _capture(model, examples, named)
            return _with_variants(whole, model, examples, named)
    except (ExportError, FormatError) as error:
        raise ExportError(f"cannot capture {type(model).__name__} as a graph: {error}. {_WAY_OUT}") from None


def _capture(model: nn.Module, examples: Sequence[Example], named: NamedSizes) -> Capture:
    """Trace the graph; if sizes seem to end below twice the example's, trace inputs of twice the size too.

    Features of one pixel seem fixed to torch.export; larger inputs show whether they vary.
    """
    found: Capture | None = None
    reason = ExportError("its sizes do not vary")
    at = example_sizes(examples, named)
    enough = [min(most or math.inf, 2 * at.get(name, 0)) for name, (_, most) in named.bounds.items()]
    for factor in (1, 2) if named.bounds else (1,):
        try:
            traced = _traced(model, examples, named, factor)
        except ExportError as error:
            reason = error if factor == 1 else reason
            continue
        if found is None or _ends(traced, named) > _ends(found, named):
            found = traced
        if all(end >= least for end, least in zip(_ends(found, named), enough, strict=True)):
            break
    if found is None:
        raise reason
    return found


def _ends(captured: Capture, named: NamedSizes) -> list[float]:
    """List the largest sizes, in the order of the names."""
    return [captured.graph.sizes.get(name, SizeRange()).most or math.inf for name in named.bounds]


def _traced(model: nn.Module, examples: Sequence[Example], named: NamedSizes, factor: int) -> Capture:
    at, batch = example_sizes(examples, named), examples[0].tensor.shape[0]
    output = _call(model, examples, [example.tensor for example in examples])
    # torch.export would take a varying dimension of size 1 for a fixed one.
    traced = {
        name: min(max(2, factor * size), named.bounds[name][1] or sys.maxsize) for name, size in at.items()
    }
    inputs = resized(examples, max(2, batch), named.at(traced))
    program = _export(model, examples, inputs, named)
    captured = Capture(*convert(program, model, _specs(examples, named), output))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **captured.constants}
    validate(captured.graph, frozenset(tensors))
    interpreter = Interpreter(captured.graph)

    def trial(sizes: Mapping[str, int], batch: int = 2) -> str | None:
        trial_inputs = resized(examples, batch, named.at(sizes))
        try:
            expected = list(leaves(_call(model, examples, trial_inputs)))
            found = list(leaves(interpreter.run(trial_inputs, tensors.__getitem__)))
        except ExportError as error:
            return str(error)
        except Exception as error:  # torch's operators raise many kinds
            return f"its graph fails: {_one_line(error)}"
        if len(found) != len(expected) or not all(map(_same, found, expected)):
            return "its graph and the model disagree: the forward depends on more than shapes"
        return None

    for batch in (1, 3):  # a graph that holds for the traced batch alone fails at one of them
        reason = trial(at, batch)
        if reason is not None:
            raise ExportError(f"at batch {batch}, {reason}")
    ranges = found_sizes(program, inputs, named, traced, trial) if at else {}
    for name, size in at.items():
        if size not in ranges[name]:
            raise ExportError(f"the model takes no {name} of {size} together with others")
    sizes = {name: bounds for name, bounds in ranges.items() if bounds != SizeRange()}
    graph = replace(captured.graph, sizes=sizes)
    try:  # a reader makes this check before it runs the graph
        SizeCheck(graph, lambda name: tensors[name].detach().to("meta"), max_bytes=None).shapes()
    except FormatError as error:
        raise ExportError(f"its sizes cannot be inferred: {error}") from None
    return replace(captured, graph=graph)


def _with_variants(
    whole: Capture, model: nn.Module, examples: Sequence[Example], named: NamedSizes
) -> Capture:
    """Add a variant for each choice of inputs that the model runs without."""
    optional = [one for one in examples if one.has_default and _answers(model, without(examples, [one]))]
    if len(optional) > _MOST_OPTIONAL:
        return whole
    variants: list[Graph] = []
    constants = dict(whole.constants)
    ranges = {name: whole.graph.sizes.get(name, SizeRange()) for name in named.bounds}
    bounds = {name: (sizes.least, sizes.most) for name, sizes in ranges.items()}
    for count in range(1, len(optional) + 1):
        for left_out in itertools.combinations(optional, count):
            fewer = without(examples, left_out)
            names = [n for example, n in zip(examples, named.names, strict=True) if example not in left_out]
            if not fewer or not _answers(model, fewer):
                continue
            try:
                part = _capture(model, fewer, NamedSizes(tuple(names), bounds))
            except (ExportError, FormatError):
                continue  # these inputs cannot be left out; a call without them is refused
            if part.graph.sizes.items() <= whole.graph.sizes.items():
                variants.append(_renamed(part, len(variants), constants).graph)
    return Capture(replace(whole.graph, variants=tuple(variants)), constants)


def _renamed(part: Capture, number: int, constants: dict[str, Tensor]) -> Capture:
    """Move the constants of ``part`` to ``constants``, under new names where a name is taken."""
    names = {}
    for name, tensor in part.constants.items():
        same = name not in constants or (
            constants[name].dtype == tensor.dtype and torch.equal(constants[name], tensor)
        )
        names[name] = name if same else f"{name}_of_variant_{number}"
        constants[names[name]] = tensor

    def renamed(leaf: Any) -> Any:
        return TensorName(names.get(leaf.name, leaf.name)) if isinstance(leaf, TensorName) else leaf

    nodes = tuple(
        Node(node.op, map_leaves(renamed, node.args), map_leaves(renamed, dict(node.kwargs)))
        for node in part.graph.nodes
    )
    return replace(
        part, graph=replace(part.graph, nodes=nodes, output=map_leaves(renamed, part.graph.output))
    )


class _Flat(nn.Module):
    """The model in the form for torch.export: it takes tensors by place and returns the output's leaves."""

    def __init__(self, model: nn.Module, examples: Sequence[Example]) -> None:
        super().__init__()
        self.model = model
        self.examples = examples
        self.training = False

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return tuple(leaves(plain(call(self.model, self.examples, inputs))))


def _export(
    model: nn.Module, examples: Sequence[Example], inputs: Sequence[Tensor], named: NamedSizes
) -> ExportedProgram:
    batch, free = Dim("batch", min=1), Dim.AUTO
    shapes = tuple({0: batch, **dict.fromkeys(names, free)} for names in named.names)
    try:
        return torch.export.export(
            _Flat(model, examples), (tuple(inputs),), dynamic_shapes=(shapes,), strict=False
        )
    except ExportError:
        raise
    except Exception as error:  # torch.export passes on any error of the model's own code
        if "data-dependent" in str(error):
            raise ExportError("its control flow depends on the values of a tensor") from None
        raise ExportError(f"torch.export says: {_one_line(error)}") from None


def _specs(examples: Sequence[Example], named: NamedSizes) -> tuple[InputSpec, ...]:
    specs = []
    for example, names in zip(examples, named.names, strict=True):
        dtype = str(example.tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise ExportError(
                f"input {example.name!r} has dtype {dtype}; a packed file takes {', '.join(DTYPES)}"
            )
        sizes = ("batch", *example.tensor.shape[1:])
        shape = tuple(names.get(dimension, size) for dimension, size in enumerate(sizes))
        specs.append(InputSpec(example.name, dtype, shape, example.keyword))
    return tuple(specs)


def _answers(model: nn.Module, examples: Sequence[Example]) -> bool:
    try:
        tensors = [example.tensor for example in examples]
        return bool(examples) and _call(model, examples, tensors) is not None
    except ExportError:
        return False


def _call(model: nn.Module, examples: Sequence[Example], tensors: Sequence[Tensor]) -> Any:
    try:
        output = call(model, examples, [tensor.clone() for tensor in tensors])
    except Exception as error:  # the user's own code
        raise ExportError(f"the model fails: {_one_line(error)}") from None
    return plain(output)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
    return type(a) is type(b) and bool(a == b)


def _one_line(error: Exception) -> str:
    lines = [line.split("For more information")[0].strip(" -") for line in str(error).splitlines()]
    text = " ".join([line for line in lines if line][:2]) or type(error).__name__
    return (text if len(text) <= 300 else text[:297] + "...").rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off torch.export's prints, warnings and logs, and fused attention.

    The errors hold what matters of the prints and logs. Fused attention, an inference path of
    ``nn.TransformerEncoderLayer``, cannot be exported, and it rounds differently.
    """
    logger, fused = logging.getLogger("torch"), torch.backends.mha.get_fastpath_enabled()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fused)
