"""From a model to its graph, through torch.export, checked against the model itself."""

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
from proxconnect.graph._asked import Asked, Dynamic, asked_sizes, example_sizes
from proxconnect.graph._convert import convert
from proxconnect.graph._examples import Example, Examples, call, named_examples, resized, without
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
# A network of more inputs that may be left out takes all of them: the graphs would be too many.
_MOST_OPTIONAL = 3


@dataclass(frozen=True)
class Capture:
    """A graph, and the tensors it reads that are neither parameters nor persistent buffers of the model."""

    graph: Graph
    constants: dict[str, Tensor]


def capture(model: nn.Module, example_inputs: Examples, dynamic: Dynamic | None = None) -> Capture:
    """The graph of ``model`` in eval mode; the batch, dimension 0 of every input, may be anything from 1.

    The graph is run beside the model at batches 1, 2 and 3, and at other sizes where sizes vary, and must
    give the same bits. Where the model answers without some of up to three inputs that have a default, the
    graph has a variant for them.

    Args:
        model: a module in eval mode whose forward takes tensors; unchanged.
        example_inputs: a tensor, one per argument of the forward, or a dict of them by name, all of one batch
            size; None where an argument is left out.
        dynamic: names of further sizes that may vary, for all inputs, ``{dimension: "name"}``, or for one,
            ``{input index or name: {dimension: "name"}}``. A name may come with its least and greatest size,
            ``("height", 32, 512)``; without, they are what the model takes.

    Raises:
        ExportError: the model cannot be captured; the message has the reason and the way out.

    >>> captured = capture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))
    >>> [node.op for node in captured.graph.nodes]
    ['aten.linear.default', 'aten.relu.default']
    """
    try:
        examples = named_examples(model, example_inputs)
        asked = asked_sizes(examples, dynamic or {})
        with torch.no_grad(), _quiet():
            whole = _capture(model, examples, asked)
            return _with_variants(whole, model, examples, asked)
    except (ExportError, FormatError) as error:
        raise ExportError(f"cannot capture {type(model).__name__} as a graph: {error}. {_WAY_OUT}") from None


def _capture(model: nn.Module, examples: Sequence[Example], asked: Asked) -> Capture:
    """The graph, traced with inputs of twice the size too where sizes seem to end before.

    Features of one pixel look fixed to torch.export; larger inputs show whether they vary.
    """
    found: Capture | None = None
    reason = ExportError("its sizes do not vary")
    at = example_sizes(examples, asked)
    enough = [min(most or math.inf, 2 * at.get(name, 0)) for name, (_, most) in asked.bounds.items()]
    for factor in (1, 2) if asked.bounds else (1,):
        try:
            traced = _traced(model, examples, asked, factor)
        except ExportError as error:
            reason = error if factor == 1 else reason
            continue
        if found is None or _ends(traced, asked) > _ends(found, asked):
            found = traced
        if all(end >= least for end, least in zip(_ends(found, asked), enough, strict=True)):
            break
    if found is None:
        raise reason
    return found


def _ends(captured: Capture, asked: Asked) -> list[float]:
    """The greatest sizes, by name in the order in which they are asked for."""
    return [captured.graph.sizes.get(name, SizeRange()).most or math.inf for name in asked.bounds]


def _traced(model: nn.Module, examples: Sequence[Example], asked: Asked, factor: int) -> Capture:
    at, batch = example_sizes(examples, asked), examples[0].tensor.shape[0]
    output = _call(model, examples, [each.tensor for each in examples])
    # Of size 1, torch.export would take a dimension that varies for a fixed one.
    traced = {
        name: min(max(2, factor * size), asked.bounds[name][1] or sys.maxsize) for name, size in at.items()
    }
    inputs = resized(examples, max(2, batch), asked.at(traced))
    program = _export(model, examples, inputs, asked)
    captured = Capture(*convert(program, model, _specs(examples, asked), output))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **captured.constants}
    validate(captured.graph, frozenset(tensors))
    interpreter = Interpreter(captured.graph)

    def trial(sizes: Mapping[str, int], batch: int = 2) -> str | None:
        few = resized(examples, batch, asked.at(sizes))
        try:
            expected = list(leaves(_call(model, examples, few)))
            found = list(leaves(interpreter.run(few, tensors.__getitem__)))
        except ExportError as error:
            return str(error)
        except Exception as error:  # torch's operators raise many kinds
            return f"its graph fails: {_one_line(error)}"
        if len(found) != len(expected) or not all(map(_same, found, expected)):
            return "its graph and the model disagree: the forward depends on more than shapes"
        return None

    for batch in (1, 2, 3):
        reason = trial(at, batch)
        if reason is not None:
            raise ExportError(f"at batch {batch}, {reason}")
    ranges = found_sizes(program, inputs, asked, traced, trial) if at else {}
    for name, size in at.items():
        if size not in ranges[name]:
            raise ExportError(f"the model takes no {name} of {size} together with others")
    sizes = {name: bounds for name, bounds in ranges.items() if bounds != SizeRange()}
    graph = replace(captured.graph, sizes=sizes)
    try:  # what a reader finds out before it runs the graph
        SizeCheck(graph, lambda name: tensors[name].detach().to("meta"), max_bytes=None).shapes()
    except FormatError as error:
        raise ExportError(f"its sizes cannot be inferred: {error}") from None
    return replace(captured, graph=graph)


def _with_variants(whole: Capture, model: nn.Module, examples: Sequence[Example], asked: Asked) -> Capture:
    """The same with a variant for each choice of inputs that the model answers without."""
    optional = [each for each in examples if each.has_default and _answers(model, without(examples, [each]))]
    if len(optional) > _MOST_OPTIONAL:
        return whole
    variants: list[Graph] = []
    constants = dict(whole.constants)
    ranges = {name: whole.graph.sizes.get(name, SizeRange()) for name in asked.bounds}
    bounds = {name: (sizes.least, sizes.most) for name, sizes in ranges.items()}
    for count in range(1, len(optional) + 1):
        for left_out in itertools.combinations(optional, count):
            fewer = without(examples, left_out)
            names = [n for each, n in zip(examples, asked.names, strict=True) if each not in left_out]
            if not fewer or not _answers(model, fewer):
                continue
            try:
                part = _capture(model, fewer, Asked(tuple(names), bounds))
            except (ExportError, FormatError):
                continue  # these inputs cannot be left out, which the call says
            if part.graph.sizes.items() <= whole.graph.sizes.items():
                variants.append(_renamed(part, len(variants), constants).graph)
    return Capture(replace(whole.graph, variants=tuple(variants)), constants)


def _renamed(part: Capture, number: int, constants: dict[str, Tensor]) -> Capture:
    """``part`` with its constants among ``constants``, under names of their own where those are taken."""
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
    """The model as torch.export takes it: tensors by place, and the leaves of its output as one tuple."""

    def __init__(self, model: nn.Module, examples: Sequence[Example]) -> None:
        super().__init__()
        self.model = model
        self.examples = examples
        self.training = False

    def forward(self, *inputs: Tensor) -> tuple[Any, ...]:
        return tuple(leaves(plain(call(self.model, self.examples, inputs))))


def _export(
    model: nn.Module, examples: Sequence[Example], inputs: Sequence[Tensor], asked: Asked
) -> ExportedProgram:
    batch, free = Dim("batch", min=1), Dim.AUTO
    shapes = tuple({0: batch, **dict.fromkeys(names, free)} for names in asked.names)
    try:
        return torch.export.export(
            _Flat(model, examples), tuple(inputs), dynamic_shapes=(shapes,), strict=False
        )
    except ExportError:
        raise
    except Exception as error:  # torch.export passes on whatever the model's own code raises
        if "data-dependent" in str(error):
            raise ExportError("its control flow depends on the values of a tensor") from None
        raise ExportError(f"torch.export says: {_one_line(error)}") from None


def _specs(examples: Sequence[Example], asked: Asked) -> tuple[InputSpec, ...]:
    specs = []
    for each, names in zip(examples, asked.names, strict=True):
        dtype = str(each.tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise ExportError(
                f"input {each.name!r} has dtype {dtype}; a packed file takes {', '.join(DTYPES)}"
            )
        shape = ("batch", *each.tensor.shape[1:])
        named = tuple(names.get(dimension, size) for dimension, size in enumerate(shape))
        specs.append(InputSpec(each.name, dtype, named, each.keyword))
    return tuple(specs)


def _answers(model: nn.Module, examples: Sequence[Example]) -> bool:
    try:
        return bool(examples) and _call(model, examples, [each.tensor for each in examples]) is not None
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
    """Without torch.export's prints, warnings and logs, and without fused attention.

    What matters of the former is in the error. The latter, an inference path of
    ``nn.TransformerEncoderLayer``, cannot be exported; it rounds differently.
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
