"""Convolutions of images of one bit with weights of one bit; pixels come first and channels last (NHWC)."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect._kernel_sets import apply_environment
from proxconnect.engine.kernels._address import address, check_padding
from proxconnect.engine.kernels._conv_panels import ConvPanels, Geometry
from proxconnect.engine.kernels._epilogues import Affine, Thresholds
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width


def pack_pixels(x: Tensor) -> Tensor:
    """Pack the signs of images pixel by pixel; both zeros count as +1.

    Args:
        x: float32 of shape (N, C, H, W) on the CPU. Contiguous and channels_last tensors are read as they
            lie, others copied first.

    Returns:
        uint8 of shape (N, H, W, packed_width(C)).

    Raises:
        ProxConnectError: ``x`` is not such a tensor, or holds a NaN.

    >>> pack_pixels(torch.tensor([1.0, -1.0, -0.0]).reshape(1, 3, 1, 1))
    tensor([[[[5]]]], dtype=torch.uint8)
    """
    if not x.is_cpu or x.dtype != torch.float32 or x.ndim != 4:
        raise ProxConnectError(
            f"x is a {x.dtype} tensor of shape {tuple(x.shape)} on {x.device}; "
            "expected torch.float32 with 4 dimensions (N, C, H, W) on cpu"
        )
    count, channels, height, width = x.shape
    pixels, threads = height * width, torch.get_num_threads()
    bits = torch.empty(count, height, width, packed_width(channels), dtype=torch.uint8)
    apply_environment()
    if x.is_contiguous(memory_format=torch.channels_last):
        nan = _native.pack_signs(x.data_ptr(), count * pixels, channels, bits.data_ptr(), threads) >= 0
    else:
        x = x.contiguous()
        nan = _native.pack_planes(
            x.data_ptr(), count, channels * pixels, pixels, channels, pixels, bits.data_ptr(), threads
        )
    if nan:
        place = tuple(x.isnan().nonzero()[0].tolist())
        raise ProxConnectError(f"cannot pack: NaN at {place}; a NaN has no sign, find where it arises")
    return bits


def w1a1_conv_sums(a: Tensor, weight: ConvPanels, geometry: Geometry, *, wrap: bool = False) -> Tensor:
    """Convolution of images and weights of signs, exactly.

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

    >>> from proxconnect.engine.kernels import pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 2, 2))
    >>> weight = ConvPanels(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_sums(a, weight, Geometry(padding=(1, 1))).flatten()
    tensor([4, 4, 4, 4], dtype=torch.int32)
    >>> w1a1_conv_sums(a, weight, Geometry(padding=(1, 1), fill=-1)).flatten()
    tensor([-1, -1, -1, -1], dtype=torch.int32)
    """
    a, output = _images(a, weight, geometry)
    out = torch.empty(*output, weight.n, dtype=torch.int32)
    apply_environment()
    _native.w1a1_conv_sums(
        (a.data_ptr(), *a.shape[:3]),
        weight.arguments(),
        geometry.arguments,
        wrap,
        out.data_ptr(),
        torch.get_num_threads(),
    )
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
    """The same convolution, then an affine function of each sum in float32.

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

    >>> from proxconnect.engine.kernels import pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 3, 3))
    >>> weight = ConvPanels(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_affine(a, weight, Geometry(), Affine(torch.tensor([0.5]))).flatten()
    tensor([4.5000])
    """
    a, output = _images(a, weight, geometry)
    if residual is not None:
        address(residual, "residual", torch.float32, dimensions=4)
        if residual.shape != (*output, weight.n):
            raise ProxConnectError(
                f"residual has shape {tuple(residual.shape)}; expected {(*output, weight.n)}, "
                "that of the output"
            )
        residual = residual.view(-1, weight.n)
    n, height, width = output
    steps = affine.arguments(weight, residual, n * height * width)
    out = torch.empty(*output, weight.n)
    apply_environment()
    _native.w1a1_conv_affine(
        (a.data_ptr(), *a.shape[:3]),
        weight.arguments(),
        geometry.arguments,
        wrap,
        out.data_ptr(),
        *steps,
        torch.get_num_threads(),
    )
    return out


def w1a1_conv_signs(
    a: Tensor, weight: ConvPanels, geometry: Geometry, thresholds: Thresholds, *, wrap: bool = False
) -> Tensor:
    """The same convolution, then the sign of an affine function of each sum: the next layer's images.

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

    >>> from proxconnect.engine.kernels import pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 3, 3))
    >>> weight = ConvPanels(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_signs(a, weight, Geometry(), Thresholds(torch.ones(1), torch.tensor([-9.0]), k=9))
    tensor([[[[1]]]], dtype=torch.uint8)
    """
    a, output = _images(a, weight, geometry)
    steps = thresholds.arguments(weight)
    out = torch.empty(*output, packed_width(weight.n), dtype=torch.uint8)
    apply_environment()
    _native.w1a1_conv_signs(
        (a.data_ptr(), *a.shape[:3]),
        weight.arguments(),
        geometry.arguments,
        wrap,
        out.data_ptr(),
        *steps,
        torch.get_num_threads(),
    )
    return out


def _images(a: Tensor, weight: ConvPanels, geometry: Geometry) -> tuple[Tensor, tuple[int, int, int]]:
    """The images dense in memory, and (N, Ho, Wo).

    Raises:
        ProxConnectError: ``a`` does not hold images of the weight's channels that the kernel fits into.
    """
    if not a.is_cpu or a.dtype != torch.uint8 or a.ndim != 4:
        raise ProxConnectError(
            f"a is a {a.dtype} tensor of shape {tuple(a.shape)} on {a.device}; "
            "expected torch.uint8 with 4 dimensions (N, H, W, packed_width(channels)) on cpu"
        )
    a = a.contiguous()
    n, height, width, pixel = a.shape
    if pixel != packed_width(weight.channels):
        raise ProxConnectError(
            f"a has pixels of {pixel} bytes, which do not hold {weight.channels} channels; "
            f"expected {packed_width(weight.channels)} bytes"
        )
    check_padding("a", a.data_ptr(), pixel, n * height * width, weight.channels)
    return a, (n, *geometry.output_size((height, width), weight.kernel))
