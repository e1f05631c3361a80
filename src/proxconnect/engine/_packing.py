"""Packing of signs and unpacking of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.engine._address import address
from proxconnect.engine._kernel_sets import apply_environment
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width


def pack_signs(x: Tensor) -> Tensor:
    """Pack the signs of a matrix; both zeros count as +1.

    Args:
        x: float32 of shape (rows, columns), contiguous, on the CPU.

    Returns:
        uint8 of shape (rows, packed_width(columns)).

    Raises:
        ProxConnectError: ``x`` is not such a tensor, or holds a NaN.

    >>> pack_signs(torch.tensor([[1.0, -1.0, -0.0, -2.0]]))
    tensor([[5]], dtype=torch.uint8)
    """
    x_address = address(x, "x", torch.float32, dimensions=2)
    rows, columns = x.shape
    bits = torch.empty(rows, packed_width(columns), dtype=torch.uint8)
    apply_environment()
    nan = _native.pack_signs(x_address, rows, columns, bits.data_ptr(), torch.get_num_threads())
    if nan >= 0:
        row, column = divmod(nan, columns)
        raise ProxConnectError(
            f"cannot pack: NaN at row {row}, element {column}; a NaN has no sign, find where it arises"
        )
    return bits


def unpack_weights(bits: Tensor, scale: Tensor, shape: Sequence[int]) -> Tensor:
    """Weights from their bits: ``+scale`` where the bit is set, ``-scale`` elsewhere.

    Args:
        bits: uint8 of shape (rows, packed_width(elements in a row)), contiguous, on the CPU.
        scale: floating point on the CPU, one element for all rows or one for each row, of any shape.
        shape: the shape of the weights, output channels (rows) first.

    Returns:
        float32 of ``shape``.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> unpack_weights(torch.tensor([[5]], dtype=torch.uint8), torch.tensor(0.5), (1, 4))
    tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """
    bits_address = address(bits, "bits", torch.uint8, dimensions=2)
    if len(shape) == 0 or min(shape) < 0:
        raise ProxConnectError(f"{tuple(shape)} is not the shape of a weight; expected output channels first")
    rows, columns = shape[0], math.prod(shape[1:])
    if tuple(bits.shape) != (rows, packed_width(columns)):
        raise ProxConnectError(
            f"bits of shape {tuple(bits.shape)} do not hold weights of shape {tuple(shape)}; "
            f"expected {(rows, packed_width(columns))}"
        )
    if scale.numel() not in (1, rows):
        raise ProxConnectError(f"scale has {scale.numel()} elements; expected 1, or {rows} for {rows} rows")
    scales = scale.detach().reshape(-1).expand(rows).to(torch.float32).contiguous()
    weights = torch.empty(tuple(shape), dtype=torch.float32)
    apply_environment()
    _native.unpack_weights(
        bits_address,
        address(scales, "scale", torch.float32, dimensions=1),
        rows,
        columns,
        weights.data_ptr(),
        torch.get_num_threads(),
    )
    return weights
