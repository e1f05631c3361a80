"""Convolve float32 images, quantized to 8 bits on the way, with weights of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._images import float_images
from proxconnect.kernels._w1a8 import check_inputs, not_finite


def w1a8_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    """Convolve images, each quantized to 8 bits with a step of its own, with weights of signs.

    ``step[n] = max |x[n]| / 127`` and ``q = x / step``, rounded to even. With s the exact sum over channels c
    of the group of j and taps (u, v) of ``q[n, c, y sy + u dy - py, x sx + v dx - px] w[j, c, u, v]``, zero
    beyond the image, ``out[n, y, x, j] = prelu((s scale[j]) step[n] + bias[j] + residual[n, y, x, j])``.

    Args:
        x: float32 of shape (N, C, H, W) on the CPU. Contiguous and channels_last images are read as they
            lie, others copied first. An image that holds an infinity or a NaN gives one of NaN.
        weight: the signs of the weight, of at most 2**24 inputs to an output.
        geometry: stride, padding and dilation; ``fill`` 0.
        affine: of n outputs and one group.
        residual: float32 of shape (N, Ho, Wo, n), contiguous.

    Returns:
        float32 of shape (N, Ho, Wo, n): what ``.permute(0, 3, 1, 2)`` makes a channels_last image of.

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_signs
    >>> weight = ConvPanels.lay_out(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a8_conv(torch.full((1, 1, 2, 2), 127.0), weight, Geometry(padding=(1, 1)), Affine.of(torch.ones(1)))
    tensor([[[[508.],
              [508.]],
    <BLANKLINE>
             [[508.],
              [508.]]]])
    """
    images, rows = float_images(x, weight, geometry)
    check_inputs(weight.k)
    steps = affine.arguments(weight, rows, residual)
    if not x.is_contiguous(memory_format=torch.channels_last):
        x = x.contiguous()
        images = pointer(x), x.shape, x.stride()
    out = torch.empty(*rows, weight.n, dtype=torch.float32, device="cpu")
    finite = run(native.w1a8_conv, images, weight.arguments(), geometry.arguments, pointer(out), steps)
    if not finite:
        bad = not_finite(x)
        out = w1a8_conv(x.masked_fill(bad, 0.0), weight, geometry, affine, residual)
        out.masked_fill_(bad, torch.nan)
    return out
