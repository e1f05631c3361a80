"""Convolve float32 images with weights of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._images import float_images


def w1a32_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    """Convolve float32 images with weights of signs.

    With s the sum over channels c of the group of j and taps (u, v) of
    ``x[n, c, y sy + u dy - py, x sx + v dx - px] w[j, c, u, v]``, zero beyond the image,
    ``out[n, y, x, j] = prelu(s scale[j] + bias[j] + residual[n, y, x, j])``. The order of the additions
    depends on the weight's shape alone (``csrc/interface/convolutions.h`` states it); the error is below that
    of a plain float32 convolution.

    Args:
        x: float32 of shape (N, C, H, W) on the CPU, with any strides.
        weight: the signs of the weight.
        geometry: stride, padding and dilation; ``fill`` 0.
        affine: of n outputs and one group.
        residual: float32 of shape (N, Ho, Wo, n), contiguous.

    Returns:
        float32 of shape (N, Ho, Wo, n): what ``.permute(0, 3, 1, 2)`` makes a channels_last image of.

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_signs
    >>> weight = ConvPanels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), (1, 1, 1, 2))
    >>> x, affine = torch.tensor([[[[3.0, 1.0, 0.5]]]]), Affine.of(torch.ones(1))
    >>> w1a32_conv(x, weight, Geometry(), affine).flatten()
    tensor([2.0000, 0.5000])
    """
    images, rows = float_images(x, weight, geometry)
    steps = affine.arguments(weight, rows, residual)
    out = torch.empty(*rows, weight.n, dtype=torch.float32, device="cpu")
    run(native.w1a32_conv, images, weight.arguments(), geometry.arguments, pointer(out), steps)
    return out
