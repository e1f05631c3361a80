"""Which kernel computes a layer: the one place that decides."""

from __future__ import annotations

import math

from proxconnect.engine._layer_geometry import Use
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format import BinaryTensor

KERNELS = ("fast", "reference")
ACTIVATIONS = ("int8", "int6")
UNPACKED = "unpacked"
_MOST_INPUTS = 2**24  # sums of as many signs are exact in float32, and of as many int8 in int32
# Convolutions of fewer channels (a stem, depthwise ones) are faster unpacked, and in float32 those with fewer
# inputs to a sum: measured for one image, see benchmarks/thin_convolutions.py.
_LEAST_INPUTS, _LEAST_CHANNELS = 128, 8


def kernel_of(
    form: BinaryTensor, use: Use | None, activations: str | None = None, *, planes: bool = False
) -> str:
    """The kernel for a weight and its use: ``"w1a1"``, ``"w1a6"``, ``"w1a8"``, ``"w1a32"`` or ``"unpacked"``.

    Unpacked are ternary weights, scales of groups of inputs, convolutions of floats with fewer than 8
    channels in a group, or 128 inputs to a sum where these are not quantized, and whatever is neither a
    linear layer nor a 1d or 2d convolution with zero padding: three dimensions, transposed ones, embeddings,
    attention's input projections, recurrent layers, and classes derived from torch's, which may do something
    else with the weight.

    Args:
        form: the weight's.
        use: None for every other use.
        activations: ``"int8"`` quantizes float inputs to 8 bits, ``"int6"`` those of linear layers to 6; but
            not where it would take longer than to leave them: in convolutions of few channels.
        planes: images have their channels in planes, as in models of the user's, and not channels_last, as in
            loaded networks: quantizing them does not pay for a kernel of one pixel.

    >>> kernel_of(BinaryTensor((8, 4)), Use("linear"), "int8")
    'w1a8'
    >>> kernel_of(BinaryTensor((8, 4), bits=2), Use("linear"))
    'unpacked'
    """
    inputs = math.prod(form.rows.row_shape[1:])
    fits = form.bits == 1 and form.group is None and inputs <= _MOST_INPUTS
    if use is None or not fits or use.transposed != (form.transposed is not None):
        return UNPACKED
    if use.binary_input:
        return "w1a1"
    channels = form.shape[1]
    if use.operation == "linear":
        return {None: "w1a32", "int6": "w1a6"}.get(activations, "w1a8")
    if channels < _LEAST_CHANNELS:
        return UNPACKED
    if activations is not None and not (planes and inputs == channels):
        return "w1a8"
    return UNPACKED if inputs < _LEAST_INPUTS else "w1a32"


def check_kernels(kernels: str, activations: str | None = None) -> None:
    """Raise :class:`ProxConnectError` unless ``kernels`` and ``activations`` are known and go together."""
    if kernels not in KERNELS:
        raise ProxConnectError(unknown_name("kernels", kernels, KERNELS))
    if activations is None:
        return
    if activations not in ACTIVATIONS:
        raise ProxConnectError(f"activations must be None, 'int8' or 'int6', not {activations!r}")
    if kernels == "reference":
        raise ProxConnectError(
            f"activations={activations!r} is computed by kernels='fast', not by 'reference'"
        )
