"""Loading of packed files, as networks or into a model of the user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar, overload

from torch import nn

from proxconnect import format as packed_format
from proxconnect.base.memory import return_free_memory
from proxconnect.engine import EXACT, PRECISIONS, Network, check_kernels, check_precision
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import Contents
from proxconnect.graph import MAX_BYTES
from proxconnect.packing._load_into import load_into

Model = TypeVar("Model", bound=nn.Module)


@overload
def load(
    path: str | os.PathLike[str],
    kernels: str = ...,
    activations: str | None = ...,
    model: None = ...,
    max_bytes: int = ...,
    precision: str = ...,
) -> Network: ...


@overload
def load(
    path: str | os.PathLike[str],
    kernels: str = ...,
    activations: str | None = ...,
    *,
    model: Model,
    max_bytes: int = ...,
    precision: str = ...,
) -> Model: ...


def load(
    path: str | os.PathLike[str],
    kernels: str = "fast",
    activations: str | None = None,
    model: nn.Module | None = None,
    max_bytes: int = MAX_BYTES,
    precision: str = EXACT,
) -> nn.Module:
    """Load the network of a packed file, or load its weights into your own model; in eval mode.

    Args:
        path: a file that :func:`save` wrote.
        kernels: ``"reference"`` unpacks weights in torch and equals the hardened model bit for bit (except
            for the fused attention of torch's own modules, see the guide). ``"fast"`` uses compiled code:
            sums and decisions of layers with binary input are identical, floats agree within 1e-5 of the
            largest output.
        activations: ``"int8"`` quantizes float inputs of binary layers to 8 bits, with a step for each row of
            a linear layer and for each image of a convolution. ``"int6"`` quantizes the inputs of linear
            layers to 6 bits, which is faster still. None leaves the inputs as ``precision`` says.
        model: a plain, binarized, hardened or packed model whose parameters and buffers have the names,
            shapes and dtypes of the file. Its binary layers become packed layers, in place; tensors on the
            meta device get memory on the CPU.
        max_bytes: the largest number of bytes that the values of the file's network may take at once, for
            each sample of a batch; 4 GiB by default. 16,384 operations are allowed for each byte. A network
            that needs more is refused when it is loaded, or at the call whose inputs are too large.
        precision: how near to the hardened model the fast kernels stay. Levels other than ``"exact"`` let
            decisions differ where a float is next to a threshold.

            - ``"exact"``: the identical decisions, and floats within 1e-5, as said above.
            - ``"fast"``: ``activations="int8"`` for layers with float inputs. Operators are fused that round
              otherwise than torch's one by one. Convolutions of float weights and attention multiply in
              bfloat16, on processors that have instructions for it; on others with AVX2, attention multiplies
              integers of 16 bits.
            - ``"fastest"``: the same, with ``activations="int6"``.

            Of ``model``, only the binary layers follow it.

    Returns:
        ``model``, or a :class:`proxconnect.engine.Network` with ``classes``, ``preprocessing``,
        ``metrics`` and ``header``.

    Raises:
        FormatError: the file is damaged, is not a packed file, is of another version, needs more than
            ``max_bytes``, or does not fit ``model``, which is then unchanged.
        ProxConnectError: an argument is wrong.

    >>> import tempfile, torch, proxconnect as pc
    >>> layer = torch.nn.Linear(4, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pc.save(layer, f"{folder}/layer.safetensors", torch.zeros(1, 4), classes=["cat", "dog"])
    ...     net = pc.load(path)
    >>> net.classes[net(torch.ones(1, 4)).argmax()] in ("cat", "dog")
    True
    """
    check_kernels(kernels, activations)
    check_precision(precision, kernels)
    if type(max_bytes) is not int or max_bytes < 1:
        raise ProxConnectError(f"max_bytes must be a whole number of at least 1, not {max_bytes!r}")
    packed = packed_format.read(Path(path))
    takes_floats = "bwa" not in packed.header.setting and bool(packed.header.binary)
    if activations is not None and not takes_floats:
        raise ProxConnectError(
            f"{path} is of setting {packed.header.setting!r}: activations={activations!r} is for binary "
            "layers with float inputs; pass None"
        )
    if activations is None and takes_floats:
        activations = PRECISIONS[precision]
    try:
        if model is None:
            network: nn.Module = Network(packed, kernels, activations, max_bytes, precision)
        else:
            load_into(packed, model, kernels, activations)
            network = model.eval()
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    del packed
    return_free_memory()
    return network


def inspect(path: str | os.PathLike[str]) -> Contents:
    """Read the header and the tensor table of a packed file, without its tensors; ``print`` shows them.

    Raises:
        FormatError: this release does not read the header.

    >>> import tempfile, torch, proxconnect as pc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pc.save(torch.nn.Linear(4, 2), f"{folder}/layer.safetensors")
    ...     contents = pc.inspect(path)
    >>> sorted(contents.tensors)
    ['bias', 'weight']
    """
    return packed_format.read_contents(Path(path))
