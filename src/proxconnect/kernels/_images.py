"""Check images before compiled code sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels._checks import check_kind, check_padding
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._gateway import pointer
from proxconnect.kernels._geometry import Geometry

_ADDRESSES = 2**47  # bytes that a process can have


def sign_images(
    a: Tensor, weight: ConvPanels, geometry: Geometry
) -> tuple[Tensor, tuple[int, int, int, int], tuple[int, int, int]]:
    """Return the images dense in memory, what compiled code takes for them, and (N, Ho, Wo).

    Raises:
        ProxConnectError: ``a`` does not hold images of the weight's channels that the kernel fits into.
    """
    check_kind(a, "a", torch.uint8, 4, "(N, H, W, packed_width(channels))")
    a = a.contiguous()
    count, height, width, pixel = a.shape
    if pixel != packed_width(weight.channels):
        raise ProxConnectError(
            f"a has pixels of {pixel} bytes, which do not hold {weight.channels} channels; "
            f"expected {packed_width(weight.channels)} bytes"
        )
    if weight.channels % 8:
        check_padding("a", (pointer(a), pixel, count * height * width), weight.channels)
    images = pointer(a), count, height, width
    return a, images, output_rows(count, (height, width), weight, geometry)


def float_images(
    x: Tensor, weight: ConvPanels, geometry: Geometry
) -> tuple[tuple[int, tuple[int, ...], tuple[int, ...]], tuple[int, int, int]]:
    """Return what compiled code takes for float32 images, which have zeros around them, and (N, Ho, Wo).

    Raises:
        ProxConnectError: ``x`` does not hold images of the weight's channels that the kernel fits into, or
            the fill is not 0.
    """
    shape = x.shape
    if not x.is_cpu or x.dtype != torch.float32 or len(shape) != 4 or shape[1] != weight.channels:
        check_float_images(x, weight.channels)
    count, _, height, width = shape
    if geometry.fill:
        raise ProxConnectError(
            f"fill is {geometry.fill}; expected 0, as only images of signs have other than fill 0"
        )
    images = pointer(x), shape, x.stride()
    return images, output_rows(count, (height, width), weight, geometry)


def output_rows(
    count: int, size: tuple[int, int], weight: ConvPanels, geometry: Geometry
) -> tuple[int, int, int]:
    """Return (N, Ho, Wo), of which memory can be had for ``weight.n`` numbers each.

    Raises:
        ProxConnectError: the kernel does not fit into the padded image, or the output into an address space.
    """
    height, width = geometry.output_size(size, weight.kernel)
    if 4 * count * height * width * weight.n >= _ADDRESSES:
        raise ProxConnectError(
            f"the output of shape {(count, height, width, weight.n)} takes more than 2**47 bytes; {geometry} "
            f"makes it of images of {size}: use less padding"
        )
    return count, height, width


def check_float_images(x: Tensor, channels: int | None = None) -> None:
    """Raise :class:`ProxConnectError` unless ``x`` is float32 (N, C, H, W), of so many channels if given."""
    layout = f"(images, {'channels' if channels is None else channels}, height, width)"
    check_kind(x, "x", torch.float32, 4, layout)
    if channels is not None and x.shape[1] != channels:
        raise ProxConnectError(
            f"shape {tuple(x.shape)} of x has {x.shape[1]} channels; expected {channels}, "
            f"the inputs of the weight: {layout}"
        )
