"""Convolve images of one bit with weights of one bit; pixels come first and channels last (NHWC)."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.format.bits import packed_width
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._epilogues import Affine, Thresholds
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._images import sign_images


def w1a1_conv_sums(a: Tensor, weight: ConvPanels, geometry: Geometry, *, wrap: bool = False) -> Tensor:
    """Convolve images of signs with weights of signs, exactly.

    ``s[n, y, x, j]`` is the sum over channels c of the group of j and taps (u, v) of
    ``a[n, y sy + u dy - py, x sx + v dx - px, c] w[j, c, u, v]``, where a is ``fill`` beyond the image; with
    ``wrap`` kept in an accumulator of 8 bits, ``((s + 128) mod 256) - 128``.

    Args:
        a: uint8 of shape (N, H, W, packed_width(channels)) on the CPU, padding bits zero, as
            :func:`pack_pixels` makes them.
        weight: the signs of the weight.
        geometry: stride, padding, dilation and fill.
        wrap: keep 8 bits of the sum.

    Returns:
        int32 of shape (N, Ho, Wo, n).

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_pixels, pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 2, 2))
    >>> weight = ConvPanels.lay_out(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_sums(a, weight, Geometry(padding=(1, 1))).flatten()
    tensor([4, 4, 4, 4], dtype=torch.int32)
    >>> w1a1_conv_sums(a, weight, Geometry(padding=(1, 1), fill=-1)).flatten()
    tensor([-1, -1, -1, -1], dtype=torch.int32)
    """
    a, images, rows = sign_images(a, weight, geometry)
    out = torch.empty(*rows, weight.n, dtype=torch.int32, device="cpu")
    run(native.w1a1_conv_sums, images, weight.arguments(), geometry.arguments, wrap, pointer(out))
    return out


def w1a1_conv_affine(
    a: Tensor,
    weight: ConvPanels,
    geometry: Geometry,
    affine: Affine,
    residual: Tensor | None = None,
    *,
    wrap: bool = False,
) -> Tensor:
    """Convolve images of signs, then take an affine function of each sum in float32.

    Args:
        a: as for :func:`w1a1_conv_sums`.
        weight: the signs of the weight.
        geometry: stride, padding, dilation and fill.
        affine: of n outputs and one group.
        residual: float32 of shape (N, Ho, Wo, n), contiguous.
        wrap: keep 8 bits of the sum.

    Returns:
        float32 of shape (N, Ho, Wo, n): what ``.permute(0, 3, 1, 2)`` makes a channels_last image of.

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_pixels, pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 3, 3))
    >>> weight = ConvPanels.lay_out(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_affine(a, weight, Geometry(), Affine.of(torch.tensor([0.5]))).flatten()
    tensor([4.5000])
    """
    a, images, rows = sign_images(a, weight, geometry)
    steps = affine.arguments(weight, rows, residual)
    out = torch.empty(*rows, weight.n, dtype=torch.float32, device="cpu")
    run(native.w1a1_conv_affine, images, weight.arguments(), geometry.arguments, wrap, pointer(out), steps)
    return out


def w1a1_conv_signs(
    a: Tensor, weight: ConvPanels, geometry: Geometry, thresholds: Thresholds, *, wrap: bool = False
) -> Tensor:
    """Convolve images of signs, then decide on each sum: the next layer's images.

    Args:
        a: as for :func:`w1a1_conv_sums`.
        weight: the signs of the weight.
        geometry: stride, padding, dilation and fill.
        thresholds: of n outputs.
        wrap: keep 8 bits of the sum.

    Returns:
        uint8 of shape (N, Ho, Wo, packed_width(n)).

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_pixels, pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 3, 3))
    >>> weight = ConvPanels.lay_out(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_signs(a, weight, Geometry(), Thresholds.of(torch.ones(1), torch.tensor([-9.0]), k=9))
    tensor([[[[1]]]], dtype=torch.uint8)
    """
    a, images, rows = sign_images(a, weight, geometry)
    steps = thresholds.arguments(weight)
    out = torch.empty(*rows, packed_width(weight.n), dtype=torch.uint8, device="cpu")
    run(native.w1a1_conv_signs, images, weight.arguments(), geometry.arguments, wrap, pointer(out), steps)
    return out
