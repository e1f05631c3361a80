"""Networks as programs of torch.export, with the operators of this package or with PyTorch's alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from torch import nn, no_grad
from torch.export import Dim, export
from torch.export import save as save_program

from proxconnect.base.files import written_whole
from proxconnect.engine import Network
from proxconnect.errors import ExportError, ProxConnectError, unknown_name
from proxconnect.export._example import example_inputs as examples_of
from proxconnect.export._float_network import FloatNetwork
from proxconnect.export._fold import folded
from proxconnect.export._source import Exportable, check_examples, source_of
from proxconnect.graph import Dynamic, Examples
from proxconnect.packing import load, save

FORMS = ("packed", "plain")


def torch(
    model: Exportable,
    path: str | os.PathLike[str],
    form: str = "packed",
    example_inputs: Examples | None = None,
    dynamic: Dynamic | None = None,
) -> Path:
    """Write a network as a program of ``torch.export``, whole or not at all, and return the path.

    ``torch.export.load(path).module()`` runs it. The batch and all named sizes vary.

    Args:
        model: the path of a packed file, a network from :func:`proxconnect.load`, or a model, of which a copy
            is hardened if it is not.
        path: the file to write, whose name ends in ``.pt2``; an existing file is replaced.
        form: ``"packed"`` keeps the bits and this package's kernels, as operators of PyTorch that
            ``import proxconnect.engine`` brings. ``"plain"`` has unpacked float32 weights and PyTorch's own
            operators alone, which AOTInductor and ExecuTorch take; its output is a tuple.
        example_inputs: of a model, as for :func:`proxconnect.save`.
        dynamic: of a model, as for :func:`proxconnect.save`.

    Raises:
        ExportError: the network cannot be captured.
        FormatError: the packed file is damaged or has no graph.
        WriteError: the file cannot be written.

    >>> import tempfile
    >>> from torch import nn, zeros
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch(nn.Linear(4, 2), f"{folder}/layer.pt2", example_inputs=zeros(1, 4)).name
    'layer.pt2'
    """
    path = Path(path)
    if form not in FORMS:
        raise ProxConnectError(unknown_name("form", form, FORMS))
    if path.suffix != ".pt2":
        raise ProxConnectError(f"path is {str(path)!r}; expected a name that ends in '.pt2'")
    module: nn.Module
    if form == "packed":
        module = _network(model, example_inputs, dynamic)
        source = source_of(module, None, None)
    else:
        source = source_of(model, example_inputs, dynamic)
        module = FloatNetwork(folded(source), None)
    varying: Any = tuple(
        {dimension: Dim.AUTO for dimension, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in source.graph.inputs
    )
    try:
        with no_grad():
            program = export(module, examples_of(source), dynamic_shapes=(varying,), strict=False)
    except Exception as error:  # torch.export passes on any error
        raise ExportError(f"the network cannot be exported: {' '.join(str(error).split())[:300]}") from error
    with written_whole(path) as temporary:
        save_program(program, temporary)
    return path


def _network(model: Exportable, example_inputs: Examples | None, dynamic: Dynamic | None) -> Network:
    """Return the network itself, which computes with kernels."""
    check_examples(model, example_inputs, dynamic)
    if isinstance(model, Network):
        return model
    if not isinstance(model, nn.Module):
        return load(model)
    with tempfile.TemporaryDirectory() as folder:
        return load(save(model, Path(folder) / "model.safetensors", example_inputs, dynamic))
