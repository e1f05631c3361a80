"""From a model to its graph, through torch.export, checked against the model itself."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from proxconnect.errors import ExportError, FormatError
from proxconnect.format import InputSpec
from proxconnect.format.header import DTYPES
from proxconnect.graph._convert import convert
from proxconnect.graph.graph import Graph, leaves
from proxconnect.graph.interpreter import Interpreter
from proxconnect.graph.validate import validate

Dynamic = Mapping[int | str, Mapping[int, str]]
_WAY_OUT = (
    "Way out: pc.save(model, path) without example_inputs writes the weights alone and "
    "pc.load(path, model=your_model) reads them; or run the model in place after pc.pack_(model)"
)


@dataclass(frozen=True)
class Capture:
    """A graph, and the tensors it reads that are neither parameters nor persistent buffers of the model."""

    graph: Graph
    constants: dict[str, Tensor]


def capture(
    model: nn.Module, example_inputs: Tensor | Sequence[Tensor], dynamic: Dynamic | None = None
) -> Capture:
    """The graph of ``model`` in eval mode; the batch, dimension 0 of every input, may be anything from 1.

    The graph is run beside the model at batches 1, 2 and 3 and must give the same bits.

    Args:
        model: a module in eval mode whose forward takes tensors; unchanged.
        example_inputs: a tensor, or one per argument of the forward, all of one batch size.
        dynamic: names of further sizes that may vary: ``{input index or name: {dimension: "name"}}``.

    Raises:
        ExportError: the model cannot be captured; the message has the reason and the way out.

    >>> captured = capture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))
    >>> [node.op for node in captured.graph.nodes]
    ['aten.linear.default', 'aten.relu.default']
    """
    try:
        inputs = _inputs(example_inputs)
        names = _size_names(model, inputs, dynamic or {})
        with torch.no_grad(), _quiet():
            program = _export(model, inputs, names)
            specs = _specs(program, inputs, names)
            captured = Capture(*convert(program, model, specs, _call(model, inputs)))
            _verify(captured, model, inputs)
    except (ExportError, FormatError) as error:
        raise ExportError(f"cannot capture {type(model).__name__} as a graph: {error}. {_WAY_OUT}") from None
    return captured


def _inputs(example_inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    if not inputs or not all(isinstance(x, Tensor) and x.ndim for x in inputs):
        raise ExportError(
            "example_inputs must be one tensor, or a tuple of tensors, each with the batch first"
        )
    batches = {x.shape[0] for x in inputs}
    if len(batches) > 1 or 0 in batches:
        raise ExportError(f"example_inputs must share one batch size of at least 1, found {sorted(batches)}")
    # Copies: torch.export takes one tensor passed twice for one input.
    return tuple((torch.cat([x, x]) if x.shape[0] == 1 else x).detach().clone() for x in inputs)


def _size_names(model: nn.Module, inputs: Sequence[Tensor], dynamic: Dynamic) -> list[dict[int, str]]:
    """For each input, the names of the sizes that vary, by dimension."""
    parameters = list(inspect.signature(model.forward).parameters)
    named = [{0: "batch"} for _ in inputs]
    for key, sizes in dynamic.items():
        index = parameters.index(key) if isinstance(key, str) and key in parameters else key
        if not isinstance(index, int) or not 0 <= index < len(inputs):
            raise ExportError(
                f"dynamic names input {key!r}; expected 0 to {len(inputs) - 1} or one of {parameters}"
            )
        for dimension, name in sizes.items():
            if dimension not in range(1, inputs[index].ndim) or not str(name).isidentifier():
                raise ExportError(
                    f"dynamic[{key!r}] has {dimension!r}: {name!r}; expected a dimension from 1: a name"
                )
            named[index][dimension] = name
    return named


def _export(model: nn.Module, inputs: tuple[Tensor, ...], names: list[dict[int, str]]) -> ExportedProgram:
    dims = {name: torch.export.Dim(name, min=1) for sizes in names for name in sizes.values()}
    shapes = torch.export.ShapesCollection()
    for x, sizes in zip(inputs, names, strict=True):
        shapes[x] = {dimension: dims[name] for dimension, name in sizes.items()}
    try:
        dynamic_shapes = shapes.dynamic_shapes(model, inputs)
        return torch.export.export(model, inputs, dynamic_shapes=dynamic_shapes, strict=False)
    except Exception as error:  # torch.export passes on whatever the model's own code raises
        if "data-dependent" in str(error):
            raise ExportError("its control flow depends on the values of a tensor") from None
        raise ExportError(f"torch.export says: {_one_line(error)}") from None


def _specs(
    program: ExportedProgram, inputs: tuple[Tensor, ...], names: list[dict[int, str]]
) -> tuple[InputSpec, ...]:
    specs = []
    for name, x, sizes in zip(program.graph_signature.user_inputs, inputs, names, strict=True):
        dtype = str(x.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise ExportError(f"input {name!r} has dtype {dtype}; a packed file takes {', '.join(DTYPES)}")
        shape = tuple(sizes.get(dimension, size) for dimension, size in enumerate(x.shape))
        specs.append(InputSpec(str(name), dtype, shape))
    return tuple(specs)


def _call(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    try:
        return model(*(x.clone() for x in inputs))
    except Exception as error:  # the user's own code
        raise ExportError(f"the model fails at batch {inputs[0].shape[0]}: {_one_line(error)}") from None


def _verify(captured: Capture, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), **captured.constants}
    validate(captured.graph, frozenset(tensors))
    interpreter = Interpreter(captured.graph)
    for batch in (1, 2, 3):
        few = tuple(torch.cat([x, x])[:batch] for x in inputs)
        expected = list(leaves(_call(model, few)))
        try:
            found = list(leaves(interpreter.run(few, tensors.__getitem__)))
        except Exception as error:  # torch's operators raise many kinds
            raise ExportError(f"its graph fails at batch {batch}: {_one_line(error)}") from None
        if len(found) != len(expected) or not all(map(_same, found, expected)):
            raise ExportError(
                f"its graph and the model disagree at batch {batch}: the forward depends on more than shapes"
            )


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
