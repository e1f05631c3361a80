"""Check tensors before compiled code sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels._gateway import native, pointer


def address(
    tensor: Tensor, name: str, dtype: torch.dtype, *, dimensions: int, rows_apart: bool = False
) -> int:
    """Return the address of a tensor that is dense, or (``rows_apart``) dense in each row.

    Raises:
        ProxConnectError: wrong dtype, device, number of dimensions or strides.
    """
    check_kind(tensor, name, dtype, dimensions)
    if tensor.is_contiguous() or (rows_apart and (tensor.stride(-1) == 1 or tensor.shape[-1] <= 1)):
        return pointer(tensor)
    raise ProxConnectError(f"{name} is not contiguous (strides {tensor.stride()}); call .contiguous() first")


def address_of_shape(
    tensor: Tensor, name: str, dtype: torch.dtype, shape: tuple[int, ...], reason: str = ""
) -> int:
    """Return the address of a dense tensor that must have this shape, for this ``reason``.

    Raises:
        ProxConnectError: wrong shape, dtype, device or strides.
    """
    found = address(tensor, name, dtype, dimensions=len(shape))
    if tensor.shape != shape:
        raise ProxConnectError(
            f"{name} has shape {tuple(tensor.shape)}; expected {shape}{reason and ', ' + reason}"
        )
    return found


def check_kind(tensor: Tensor, name: str, dtype: torch.dtype, dimensions: int, layout: str = "") -> None:
    """Raise :class:`ProxConnectError` unless ``tensor`` is of this dtype and rank, on the CPU.

    ``layout`` names the dimensions, in parentheses.
    """
    if not tensor.is_cpu or tensor.dtype != dtype or tensor.ndim != dimensions:
        raise ProxConnectError(
            f"{name} is a {tensor.dtype} tensor of shape {tuple(tensor.shape)} on {tensor.device}; "
            f"expected {dtype} with {dimensions} dimensions{layout and ' ' + layout} on cpu"
        )


def sign_rows(bits: Tensor, name: str, k: int) -> tuple[int, int, int]:
    """Return address, stride and number of rows of ``k`` packed signs.

    Raises:
        ProxConnectError: ``bits`` does not hold such rows, or a padding bit is set.
    """
    bits_address = address(bits, name, torch.uint8, dimensions=2, rows_apart=True)
    if not 0 <= k < 2**31:
        raise ProxConnectError(f"k is {k}; expected at least 0 and less than 2**31, as sums are int32")
    m, width = bits.shape
    if width != packed_width(k):
        raise ProxConnectError(
            f"{name} has rows of {width} bytes, which do not hold k = {k} signs; "
            f"expected {packed_width(k)} bytes"
        )
    rows = bits_address, bits.stride(0), m
    check_padding(name, rows, k)
    return rows


def check_padding(name: str, rows: tuple[int, int, int], k: int) -> None:
    """Raise :class:`ProxConnectError` if a bit is set after the ``k`` signs of a row."""
    if k % 8 and not native.padding_is_clear(rows, k):
        raise ProxConnectError(
            f"{name} has padding bits set after the {k} signs of a row; expected zeros, as pack_signs makes"
        )


def float_rows(x: Tensor, name: str, k: int) -> tuple[int, int, int]:
    """Return address, stride and number of rows of ``k`` floats.

    Raises:
        ProxConnectError: ``x`` does not hold such rows.
    """
    x_address = address(x, name, torch.float32, dimensions=2, rows_apart=True)
    m, width = x.shape
    if width != k:
        raise ProxConnectError(f"{name} has rows of {width}; expected k = {k}, the inputs of the weight")
    return x_address, x.stride(0), m
