"""Signs as bits, in the order that the packed file fixes.

Element i of a row is bit ``i % 8`` of byte ``i // 8``, least significant bit first; +1 is 1 and -1 is 0.
Every row (output channel) starts on a new byte, and the bits left over in its last byte are zero.

This is the plain form of the operation; ``proxconnect.kernels`` has the fast one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from proxconnect.base.eager import watched
from proxconnect.errors import FormatError, ProxConnectError


def packed_width(count: int) -> int:
    """Return the number of bytes of a row of ``count`` bits.

    >>> packed_width(8), packed_width(9)
    (1, 2)
    """
    return (count + 7) // 8


def pack_bits(signs: Tensor) -> Tensor:
    """Pack signs, one row of bytes for each entry of the first dimension.

    Args:
        signs: a tensor of shape (rows, ...). True counts as +1 and False as -1; a number counts by its sign,
            and both zeros count as +1. To keep the sign of a negative zero, pass ``~torch.signbit(weight)``.

    Returns:
        uint8 of shape (rows, packed_width(elements in a row)), on the CPU.

    Raises:
        ProxConnectError: ``signs`` has no dimensions, is complex or holds a NaN.

    >>> pack_bits(torch.tensor([[1.0, -1.0, -0.0, -1.0, -1.0, -1.0, -1.0, -1.0, 2.0]]))
    tensor([[5, 1]], dtype=torch.uint8)
    """
    if signs.ndim == 0 or signs.is_complex():
        raise ProxConnectError(
            f"cannot pack a {signs.dtype} tensor of shape {tuple(signs.shape)}; "
            "expected a real or bool tensor with output channels first"
        )
    rows = signs.detach().cpu().reshape(signs.shape[0], math.prod(signs.shape[1:]))
    if rows.dtype != torch.bool:
        _refuse_nan(rows)
        rows = rows >= 0
    return torch.from_numpy(np.packbits(rows.numpy(), axis=1, bitorder="little"))


def unpack_bits(bits: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.bool) -> Tensor:
    """Undo `pack_bits`.

    Args:
        bits: uint8 of shape (rows, packed_width(elements in a row)).
        shape: the shape to restore, output channels first.
        dtype: ``torch.bool`` for True where the sign is +1, or a signed dtype for +1 and -1.

    Returns:
        A tensor of ``shape`` and ``dtype`` on the device of ``bits``.

    Raises:
        FormatError: `check_bits` refuses ``bits``.

    >>> unpack_bits(torch.tensor([[5, 1]], dtype=torch.uint8), (1, 9), torch.int8)
    tensor([[ 1, -1,  1, -1, -1, -1, -1, -1,  1]], dtype=torch.int8)
    """
    if not watched(bits):  # a traced tensor has no values to check
        check_bits(bits, shape)
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    ones = ((bits.unsqueeze(2) >> places) & 1).flatten(1)[:, : math.prod(shape[1:])].reshape(tuple(shape))
    return ones.to(torch.bool) if dtype == torch.bool else ones.to(dtype) * 2 - 1


def check_bits(bits: Tensor, shape: Sequence[int], name: str = "bits") -> None:
    """Refuse bytes that `pack_bits` cannot have made from signs of ``shape``.

    Args:
        bits: the bytes to check.
        shape: the shape of the signs, output channels first.
        name: the name of the bytes in the message.

    Raises:
        FormatError: the dtype or shape is wrong, or a padding bit is set.

    >>> check_bits(torch.tensor([[5, 2]], dtype=torch.uint8), (1, 9), "fc.weight")
    Traceback (most recent call last):
    ...
    proxconnect.errors.FormatError: fc.weight: row 0 has padding bits set beyond its 9 elements; ...
    """
    if len(shape) == 0 or min(shape) < 0:
        raise FormatError(
            f"{name}: {tuple(shape)} is not the shape of a weight; expected output channels first"
        )
    count = math.prod(shape[1:])
    expected = (shape[0], packed_width(count))
    if bits.dtype != torch.uint8 or tuple(bits.shape) != expected:
        raise FormatError(
            f"{name}: {bits.dtype} of shape {tuple(bits.shape)} cannot hold the signs of shape "
            f"{tuple(shape)}; expected torch.uint8 of shape {expected}"
        )
    if count % 8:
        padded = (bits[:, -1] >> (count % 8)).nonzero()
        if len(padded):
            raise FormatError(
                f"{name}: row {int(padded[0])} has padding bits set beyond its {count} elements; "
                "the file is damaged or was not written by ProxConnect"
            )


def _refuse_nan(rows: Tensor) -> None:
    nan = rows.isnan().nonzero()
    if len(nan):
        row, column = nan[0].tolist()
        raise ProxConnectError(
            f"cannot pack: NaN at row {row}, element {column}; a NaN has no sign, find where it arises"
        )
