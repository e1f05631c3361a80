"""Packing of hardened weights into the bits of a packed file, and unpacking.

Levels ``{-1, 1}`` are one bit each. Levels ``{-1, 0, 1}`` are two planes of bits: the first is 1 where a
weight is not zero, the second is its sign, and 0 where the weight is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import FormatError
from proxconnect.format.bits import check_bits, pack_bits, unpack_bits
from proxconnect.format.header import BinaryTensor

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack_weight(weight: Tensor, form: BinaryTensor) -> Tensor:
    """Pack a hardened weight into bits.

    Args:
        weight: a tensor of ``form.shape``; each element is a level times a scale that is not negative.
        form: shape and bits of the packed weight.

    Returns:
        uint8 of ``form.bits_shape``, on the CPU.

    >>> pack_weight(torch.tensor([[0.5, 0.0, -0.5]]), BinaryTensor((1, 3), bits=2))
    tensor([[[5]],
            [[1]]], dtype=torch.uint8)
    """
    rows = form.rows.turned(weight)
    signs = pack_bits(~torch.signbit(rows))
    if form.bits == 1:
        return signs
    nonzero = pack_bits(rows != 0)
    return torch.stack([nonzero, signs & nonzero])


def unpack_weight(bits: Tensor, scale: Tensor, form: BinaryTensor) -> Tensor:
    """Undo :func:`pack_weight`.

    Args:
        bits: uint8 of ``form.bits_shape``.
        scale: floating point, of one of ``form.rows.scale_shapes``.
        form: shape and bits of the packed weight.

    Returns:
        float32 of ``form.shape``, on the device of ``scale``.

    >>> form = BinaryTensor((1, 3), bits=2)
    >>> bits = torch.tensor([[[5]], [[1]]], dtype=torch.uint8)
    >>> unpack_weight(bits, torch.tensor([[0.5]]), form)
    tensor([[ 0.5000,  0.0000, -0.5000]])
    """
    planes = [
        form.rows.turned(unpack_bits(plane, form.rows.row_shape)).to(scale.device)
        for plane in (bits if form.bits == 2 else (bits,))
    ]
    scale = form.rows.spread(scale.to(torch.float32))
    weight = torch.where(planes[-1], scale, -scale)
    return weight if form.bits == 1 else torch.where(planes[0], weight, 0.0)


def check_weight_bits(bits: Tensor, form: BinaryTensor, name: str) -> None:
    """Refuse bytes that :func:`pack_weight` cannot have made.

    Raises:
        FormatError: a padding bit is set, or a zero has a sign.
    """
    for plane in bits.reshape(form.bits, *bits.shape[-2:]):
        check_bits(plane, form.rows.row_shape, name)
    if form.bits == 2 and (bits[1] & ~bits[0]).any():
        raise FormatError(f"{name}: a weight that is 0 has its sign bit set; the file is damaged")


def check_scale(scale: Tensor, name: str) -> None:
    """Refuse scales that hardening cannot have made.

    Raises:
        FormatError: a scale is NaN, infinite or negative, or has a negative zero's sign.
    """
    if scale.numel() == 0:
        return
    integers = _INTEGERS[scale.element_size()]  # of the same bits: those of a float with a sign are negative
    infinity = torch.tensor(torch.inf, dtype=scale.dtype, device="cpu").view(integers)
    low, high = scale.view(integers).aminmax()
    if low < 0 or high >= infinity:
        raise FormatError(f"{name}: scales must be finite and not negative, nor -0")


def is_finite(tensor: Tensor) -> bool:
    """Tell whether all elements are finite, without a copy of the tensor."""
    return tensor.numel() == 0 or bool(torch.stack(tensor.aminmax()).isfinite().all())
