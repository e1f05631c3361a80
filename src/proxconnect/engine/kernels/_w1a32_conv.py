"""Convolutions of float32 images with weights of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect._kernel_sets import apply_environment
from proxconnect.engine.kernels._conv_panels import ConvPanels, Geometry
from proxconnect.engine.kernels._epilogues import Affine
from proxconnect.errors import ProxConnectError


def w1a32_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    """Convolution of float32 images and signs, with zeros around the images.

    ``y[i, p, q, j] = prelu(s * scale[j] + bias[j] + residual[i, p, q, j])`` with ``s`` the sum over the taps
    and channels of j's group of ``x`` times sign. The order of the additions depends on the weight's shape
    alone (``csrc/images.h`` states it); the error is below that of a plain float32 convolution.

    Args:
        x: float32 of shape (images, channels, height, width) on the CPU, with any strides.
        weight: (n, channels / groups, height, width) signs.
        geometry: stride, padding and dilation; ``fill`` 0.
        affine: of n outputs and one group.
        residual: float32 of the output's shape, contiguous.

    Returns:
        float32 of shape (images, output height, output width, n); ``.permute(0, 3, 1, 2)`` makes a
        channels_last tensor of it.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.engine.kernels import pack_signs
    >>> weight = ConvPanels(pack_signs(torch.tensor([[1.0, -1.0]])), (1, 1, 1, 2))
    >>> w1a32_conv(torch.tensor([[[[3.0, 1.0, 0.5]]]]), weight, Geometry(), Affine(torch.ones(1))).flatten()
    tensor([2.0000, 0.5000])
    """
    shape = tuple(x.shape)
    if not x.is_cpu or x.dtype != torch.float32 or len(shape) != 4 or shape[1] != weight.channels:
        raise ProxConnectError(
            f"x is a {x.dtype} tensor of shape {shape} on {x.device}; expected torch.float32 of shape "
            f"(images, {weight.channels}, height, width) on cpu"
        )
    if geometry.fill:
        raise ProxConnectError(f"fill is {geometry.fill}; float32 images have zeros around them, fill 0")
    height, width = geometry.output_size((shape[2], shape[3]), weight.kernel)
    out = torch.empty(shape[0], height, width, weight.n)
    if residual is not None:
        if residual.shape != out.shape:
            raise ProxConnectError(
                f"residual has shape {tuple(residual.shape)}; expected {tuple(out.shape)}, that of the output"
            )
        residual = residual.flatten(0, 2)
    steps = affine.arguments(weight, residual, shape[0] * height * width)
    apply_environment()
    _native.w1a32_conv(
        x.data_ptr(),
        shape,
        x.stride(),
        weight.words.data_ptr(),
        weight.n,
        weight.groups,
        weight.kernel,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        (height, width),
        out.data_ptr(),
        *steps,
        torch.get_num_threads(),
    )
    return out
