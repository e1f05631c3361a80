"""Networks as ONNX files, of standard operators or with those of QONNX."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proxconnect.base.files import written_whole
from proxconnect.base.optional import needed_for
from proxconnect.base.version import __version__
from proxconnect.errors import ExportError, ProxConnectError, unknown_name
from proxconnect.export._example import example_inputs as examples_of
from proxconnect.export._float_network import FloatNetwork
from proxconnect.export._fold import folded
from proxconnect.export._outputs import output_names
from proxconnect.export._qonnx import qonnx_network
from proxconnect.export._source import Exportable, Source, source_of
from proxconnect.export._traceable import traceable
from proxconnect.graph import Dynamic, Examples

FORMS = ("standard", "qonnx")
OPSET = 18  # onnxruntime 1.14 and newer


def onnx(
    model: Exportable,
    path: str | os.PathLike[str],
    form: str = "standard",
    example_inputs: Examples | None = None,
    dynamic: Dynamic | None = None,
) -> Path:
    """Write a network as one ONNX file, whole or not at all, and return its path.

    A binary or ternary weight is stored as int8 codes and their scales, which a ``DequantizeLinear``
    multiplies. The batch and all named sizes vary. Classes, preprocessing, metrics, method and setting are
    metadata of the file, each as JSON.

    Args:
        model: the path of a packed file, a network from :func:`proxconnect.load`, or a model, of which a copy
            is hardened if it is not.
        path: the file to write; an existing file is replaced.
        form: ``"standard"`` has operators of ONNX 18 alone. ``"qonnx"`` has ``BipolarQuant`` and ``Quant``
            for the weights and for the signs of binary inputs, as FINN and hls4ml read them; its weights are
            float32.
        example_inputs: of a model, as for :func:`proxconnect.save`.
        dynamic: of a model, as for :func:`proxconnect.save`.

    Raises:
        ExportError: the network cannot be captured, or ONNX has no operator for one of its own (named).
        FormatError: the packed file is damaged or has no graph.
        MissingPackageError: onnx or onnxscript is not installed.
        WriteError: the file cannot be written.

    >>> import tempfile, torch, proxconnect as pc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     layer, example = torch.nn.Linear(4, 2), torch.zeros(1, 4)
    ...     pc.export.onnx(layer, f"{folder}/layer.onnx", example_inputs=example).name
    'layer.onnx'
    """
    if form not in FORMS:
        raise ProxConnectError(unknown_name("form", form, FORMS))
    with needed_for("Export to ONNX", "export"):
        onnx_package = import_module("onnx")
        import_module("onnxscript")
    source = folded(source_of(model, example_inputs, dynamic))
    proto = _described(_traced(source, form), source)
    try:
        onnx_package.checker.check_model(proto, full_check=True)
        content = proto.SerializeToString()
    except Exception as error:  # protobuf and the checker raise kinds of their own
        raise ExportError(f"the ONNX file would not be valid: {_one_line(error)}") from error
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _traced(source: Source, form: str) -> Any:
    """Trace the network and translate it to a model of ONNX."""
    inputs = examples_of(source)
    module = qonnx_network(source) if form == "qonnx" else FloatNetwork(source, _codes_and_scales, traceable)
    varying = tuple(
        {dimension: size for dimension, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in source.graph.inputs
    )
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=source.graph.names,
                output_names=output_names(source.graph),
                dynamic_shapes=(varying,),
            )
    except Exception as error:  # the exporter raises many kinds, wrapped several times
        raise ExportError(f"the network cannot be written as ONNX: {_reason(error)}") from error
    assert program is not None
    return program.model_proto


def _codes_and_scales(codes: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Callable[..., Tensor]]:
    return codes, scale, _dequantized


def _dequantized(codes: Tensor, scale: Tensor) -> Tensor:
    """Stand for the product of codes ``(n, ...)`` and scales ``(n,)``."""
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", (codes, scale), {"axis": 0}, dtype=scale.dtype, shape=codes.shape, version=OPSET
    )


def _described(proto: Any, source: Source) -> Any:
    """Leave out what the tracer notes about the code, and add what the file knows about the network."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.ClearField("metadata_props")
    proto.producer_name, proto.producer_version = "proxconnect", __version__
    for name, fact in source.facts.items():
        if fact is not None:
            proto.metadata_props.add(key=name, value=json.dumps(fact))
    return proto


def _reason(error: BaseException) -> str:
    """Say in one line what the exporter lacks, or else what the innermost error says."""
    inner: BaseException | None = error
    text = ""
    while inner is not None:
        text = str(inner)
        missing = re.search(r"No (?:ONNX function|decompositions).*?op='\w+\.(\w+)'", text)
        if missing:
            return f"there is no operator of ONNX for {missing[1]!r}"
        error, inner = inner, inner.__cause__ or inner.__context__
    return _one_line(error)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off the prints, logs and warnings of the tracer; its errors hold what matters of them."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
