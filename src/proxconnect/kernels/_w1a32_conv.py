"""Convolutions of float32 images with weights of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.base.eager import pointer
from proxconnect.kernels._conv_panels import ConvPanels, Geometry
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._images import float_images
from proxconnect.kernels._sets import apply_environment


def w1a32_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    """Convolution of float32 images and weights of signs.

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
    >>> weight = ConvPanels(pack_signs(torch.tensor([[1.0, -1.0]])), (1, 1, 1, 2))
    >>> w1a32_conv(torch.tensor([[[[3.0, 1.0, 0.5]]]]), weight, Geometry(), Affine(torch.ones(1))).flatten()
    tensor([2.0000, 0.5000])
    """
    images, rows = float_images(x, weight, geometry)
    steps = affine.arguments(weight, rows, residual)
    out = torch.empty(*rows, weight.n, dtype=torch.float32, device="cpu")
    apply_environment()
    _native.w1a32_conv(
        images,
        weight.arguments(),
        geometry.arguments,
        pointer(out),
        steps,
        torch.get_num_threads(),
    )
    return out
