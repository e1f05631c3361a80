"""Convolutions of float32 images, quantized to 8 bits on the way, with weights of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect._kernel_sets import apply_environment
from proxconnect.engine.kernels._address import address
from proxconnect.engine.kernels._conv_panels import ConvPanels, Geometry
from proxconnect.engine.kernels._epilogues import Affine
from proxconnect.engine.kernels._w1a8 import W1A8_MOST_INPUTS
from proxconnect.errors import ProxConnectError


def w1a8_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    """Convolution of images, each quantized to 8 bits with a step of its own, and weights of signs.

    ``step[n] = max |x[n]| / 127`` and ``q = x / step``, rounded to even. With s the exact sum over channels c
    of the group of j and taps (u, v) of ``q[n, c, y sy + u dy - py, x sx + v dx - px] w[j, c, u, v]``, zero
    beyond the image, ``out[n, y, x, j] = prelu((s scale[j]) step[n] + bias[j] + residual[n, y, x, j])``.

    Args:
        x: float32 of shape (N, C, H, W) on the CPU, finite. Contiguous and channels_last images are read as
            they lie, others copied first.
        weight: the signs of the weight, of at most 2**24 inputs to an output.
        geometry: stride, padding and dilation; its fill must be 0.
        affine: of n outputs and one group.
        residual: float32 of shape (N, Ho, Wo, n), contiguous.

    Returns:
        float32 of shape (N, Ho, Wo, n): what ``.permute(0, 3, 1, 2)`` makes a channels_last image of.

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.engine.kernels import pack_signs
    >>> weight = ConvPanels(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a8_conv(torch.full((1, 1, 2, 2), 127.0), weight, Geometry(padding=(1, 1)), Affine(torch.ones(1)))
    tensor([[[[508.],
              [508.]],
    <BLANKLINE>
             [[508.],
              [508.]]]])
    """
    x = _images(x, weight, geometry)
    count, channels, height, width = x.shape
    rows = (count, *geometry.output_size((height, width), weight.kernel))
    if residual is not None:
        address(residual, "residual", torch.float32, dimensions=4)
        if residual.shape != (*rows, weight.n):
            raise ProxConnectError(
                f"residual has shape {tuple(residual.shape)}; expected {(*rows, weight.n)}, "
                "that of the output"
            )
        residual = residual.view(-1, weight.n)
    steps = affine.arguments(weight, residual, rows[0] * rows[1] * rows[2])
    out = torch.empty(*rows, weight.n)
    apply_environment()
    finite = _native.w1a8_conv(
        x.data_ptr(),
        (count, channels, height, width),
        x.stride(),
        weight.arguments(),
        geometry.arguments,
        out.data_ptr(),
        *steps,
        torch.get_num_threads(),
    )
    if not finite:
        image = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ProxConnectError(f"cannot quantize: image {image} of x holds an infinity or a NaN")
    return out


def _images(x: Tensor, weight: ConvPanels, geometry: Geometry) -> Tensor:
    """The images, dense, or one clear error."""
    if not x.is_cpu or x.dtype != torch.float32 or x.ndim != 4:
        raise ProxConnectError(
            f"x is a {x.dtype} tensor of shape {tuple(x.shape)} on {x.device}; "
            "expected torch.float32 with 4 dimensions (N, C, H, W) on cpu"
        )
    if x.shape[1] != weight.channels:
        raise ProxConnectError(
            f"x has {x.shape[1]} channels; expected {weight.channels}, the inputs of the weight"
        )
    if weight.k > W1A8_MOST_INPUTS:
        raise ProxConnectError(
            f"k is {weight.k}; expected at most 2**24 for 8-bit activations, as sums are int32"
        )
    if geometry.fill:
        raise ProxConnectError(
            f"fill is {geometry.fill}; expected 0, as only images of signs can be filled with +1 or -1"
        )
    x = x.detach()
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()
