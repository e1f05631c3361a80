"""Choose the kernel of a layer of a model or of a node of a graph; no other place does."""

from __future__ import annotations

import math

from proxconnect.engine._layer_geometry import LayerGeometry
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format import BinaryTensor
from proxconnect.kernels._panels import WORD_BITS

KERNELS = ("fast", "reference")
ACTIVATIONS = ("int8", "int6")
UNPACKED = "unpacked"
ROWS = "rows"  # of embeddings: those that are asked for are unpacked
_MOST_INPUTS = 2**24  # sums of as many signs are exact in float32, and of as many int8 in int32
# Convolutions of fewer channels (a stem, depthwise ones) are faster unpacked, and in float32 those with fewer
# inputs to a sum: measured for one image, see benchmarks/thin_convolutions.py.
_LEAST_INPUTS, _LEAST_CHANNELS = 128, 8


def kernel_of(
    form: BinaryTensor,
    geometry: LayerGeometry | None,
    activations: str | None = None,
    *,
    planes: bool = False,
) -> str:
    """Choose ``"w1a1"``, ``"w1a6"``, ``"w1a8"``, ``"w1a32"`` or ``"unpacked"``.

    Ternary weights of linear layers have ``"w2a6"``, ``"w2a8"`` and ``"w2a32"``. These weights have no
    kernel and are unpacked on each call:

    - ternary weights, and weights with a scale for each group of inputs, but those of linear layers whose
      input is not binary, with groups of a multiple of 32;
    - convolutions of floats with fewer than 8 channels in a group;
    - convolutions of floats that are not quantized, with fewer than 128 inputs to a sum;
    - convolutions with another padding than zeros, of three dimensions, or transposed;
    - input projections of attention, recurrent layers;
    - classes derived from torch's, which may do something else with the weight.

    Args:
        form: the form of the weight.
        geometry: the geometry of the layer; None for one that no kernel knows.
        activations: ``"int8"`` quantizes float inputs to 8 bits, ``"int6"`` those of linear layers to 6.
            Inputs of convolutions of few channels stay floats, since to quantize them would take longer.
        planes: images have their channels in planes, as in the user's own models. Those of loaded networks
            are channels_last. Quantizing planes does not pay for a kernel of one pixel.

    >>> kernel_of(BinaryTensor((8, 4)), LayerGeometry("linear"), "int8")
    'w1a8'
    >>> kernel_of(BinaryTensor((8, 4), bits=2), LayerGeometry("linear"))
    'w2a32'
    >>> kernel_of(BinaryTensor((8, 40), group=10), LayerGeometry("linear"))
    'unpacked'
    """
    inputs = math.prod(form.rows.row_shape[1:])
    if geometry is None or inputs > _MOST_INPUTS or geometry.transposed != (form.transposed is not None):
        return UNPACKED
    grouped = form.group is not None and form.group < inputs
    if geometry.operation == "linear" and not geometry.binary_input:
        known = not grouped or (form.group or 0) % WORD_BITS == 0
        bits = {None: 32, "int6": 6}.get(activations, 8)
        return f"w{form.bits}a{bits}" if known else UNPACKED
    if form.bits > 1 or grouped:
        return UNPACKED
    if geometry.binary_input:
        return "w1a1"
    channels = form.shape[1]
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
