"""Saving of a model as one packed file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from proxconnect import format as packed_format
from proxconnect.base.version import __version__
from proxconnect.data import Preprocessing
from proxconnect.errors import ProxConnectError
from proxconnect.graph import Dynamic, Examples, capture
from proxconnect.packing._facts import checked_facts
from proxconnect.packing._store import hardened_copy, store


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    example_inputs: Examples | None = None,
    dynamic: Dynamic | None = None,
    rest: str = "float32",
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Path:
    """Write ``model`` as one packed file, whole or not at all, and return its path.

    Args:
        model: a float32 model: binarized (a copy is hardened), hardened, packed, or without binary layers. It
            stays as it is. DistributedDataParallel, DataParallel and torch.compile around it are left out.
            Weights that are computed from other tensors (``weight_norm``, pruning) are stored as computed.
        path: the file to write; an existing file is replaced.
        example_inputs: one input, a tuple of inputs, or a dict of inputs by name, batch first. The file then
            holds the network itself, for eval mode, and loads without the model's code. Without example
            inputs the file holds only the weights. Inputs that the model runs without may be left out when
            the network is called.
        dynamic: names of further sizes that may vary, for all inputs, ``{dimension: "name"}``, or for one,
            ``{input index or name: {dimension: "name"}}``. A name may come with its least and greatest size,
            ``("height", 32, 512)``; where they are missing or None, they are the sizes that the model takes.
        rest: format of float32 parameters that are not binary and have two or more dimensions:
            ``"float32"``, ``"float16"``, or ``"int8"`` with one scale per output channel. With the last two,
            biases and other vectors are stored in float16, unless they have numbers beyond it.
        classes: name of each class, in the order of the outputs.
        preprocessing: the way from an image to an input: a :class:`proxconnect.Preprocessing`, or a mapping
            with its fields.
        metrics: finite numbers by name, to keep with the model.

    Raises:
        ExportError: the model cannot be captured as a graph; the message has the reason and the way out.
        WriteError: ``path`` is a folder or a device, its folder does not exist, or the disk is full.
        ProxConnectError: the model is not float32 or has NaN or infinite weights (named), or an argument is
            wrong.

    >>> import tempfile, torch, proxconnect as pc
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> model = pc.binarize_(model, pc.BinarizeConfig("bnn++"), filter_fn=lambda module, name: name == "0")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pc.save(model, f"{folder}/model.safetensors", torch.zeros(1, 16))
    ...     net = pc.load(path, kernels="reference")
    >>> net(torch.zeros(3, 16)).shape
    torch.Size([3, 2])
    """
    facts = checked_facts(classes, preprocessing, metrics)
    hard = hardened_copy(model)
    captured = None
    if example_inputs is not None:
        captured = capture(hard, example_inputs, dynamic)
    elif dynamic is not None:
        raise ProxConnectError("dynamic names sizes of the inputs: pass example_inputs as well")
    packed = store(hard, captured, rest, __version__, facts)
    packed_format.write(Path(path), packed)
    return Path(path)
