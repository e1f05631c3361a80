"""Blocks of few levels as GGUF files hold them, and the planes of bits that this library computes with.

A row of a tensor is a sequence of blocks. A block holds neighbouring inputs and the float16 scale ``d`` that
they share:

==========  ======  =====  ==========================================================================
type        inputs  bytes  weights
==========  ======  =====  ==========================================================================
``Q1_0``    128     18     ``d`` where its bit is 1, else ``-d``; scale first, then bits, lowest first
``TQ2_0``   256     66     ``(q - 1) d`` of 2 bits ``q``; byte ``m`` of 32 holds inputs ``m + 32 l``
``TQ1_0``   256     54     ``(q - 1) d`` of base-3 digits ``q``: five in a byte, four in the last bytes
==========  ======  =====  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from proxconnect.errors import FormatError

Bytes = npt.NDArray[np.uint8]


class Blocks(NamedTuple):
    """A weight of few levels whose neighbouring inputs share scales.

    Args:
        bits: uint8 as :func:`proxconnect.format.pack_weight` makes them: ``(rows, inputs / 8)`` of signs, or
            ``(2, rows, inputs / 8)`` of a ternary weight.
        scales: float16 of shape ``(rows, inputs / block)``.
    """

    bits: Bytes
    scales: npt.NDArray[np.float16]


class BlockType(NamedTuple):
    """A type of blocks.

    Args:
        inputs: the inputs of a block.
        bytes: the bytes of a block.
        bits: 1 for levels -1 and 1, 2 for levels -1, 0 and 1: the planes of :class:`Blocks`.
        decode: makes :class:`Blocks` of bytes of shape ``(rows, blocks, bytes)``.
        encode: undoes ``decode``; None for a type that is only read.
    """

    inputs: int
    bytes: int
    bits: int
    decode: Callable[[Bytes], Blocks]
    encode: Callable[[Blocks], Bytes] | None


# Sixteen bytes as one element, which numpy copies in a quarter of the time that it takes for each on its own.
_Q1_0 = np.dtype({"names": ["bits"], "formats": ["V16"], "offsets": [2], "itemsize": 18})


def _decode_q1_0(blocks: Bytes) -> Blocks:
    bits = np.ascontiguousarray(blocks).view(_Q1_0)["bits"][:, :, 0].copy().view(np.uint8)
    return Blocks(bits, _scales(blocks[:, :, :2]))


def _encode_q1_0(weight: Blocks) -> Bytes:
    rows, blocks = weight.scales.shape
    return np.concatenate([_scale_bytes(weight), weight.bits.reshape(rows, blocks, -1)], axis=2)


def _decode_tq2_0(blocks: Bytes) -> Blocks:
    digits = blocks[:, :, :64].reshape(len(blocks), -1)
    if (digits & digits >> 1 & 0b01010101).any():
        raise FormatError("a weight of 2 bits is 3, which is no ternary level; the file is damaged")
    # Digit 1 has its low bit set, and digit 2 its high bit. Bits of 32 bytes are those of 32 inputs in turn.
    zero, positive = np.empty((2, len(blocks), digits.shape[1] // 32, 4), dtype=np.uint32)
    for place in range(4):
        for plane, bit in ((zero, 1), (positive, 2)):
            set_bits = np.packbits(digits & np.uint8(bit << 2 * place), axis=1, bitorder="little")
            plane[:, :, place] = set_bits.view(np.uint32)
    planes = np.stack([~zero, positive]).view(np.uint8)
    return Blocks(planes.reshape(2, len(blocks), -1), _scales(blocks[:, :, 64:]))


def _encode_tq2_0(weight: Blocks) -> Bytes:
    rows, blocks = weight.scales.shape
    nonzero, positive = (np.unpackbits(plane, axis=1, bitorder="little") for plane in weight.bits)
    digits = (1 - nonzero + 2 * positive).astype(np.uint8).reshape(rows, blocks, 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8).reshape(4, 1)
    packed = np.bitwise_or.reduce(digits << shifts, axis=3).reshape(rows, blocks, 64)
    return np.concatenate([packed, _scale_bytes(weight)], axis=2)


def _decode_tq1_0(blocks: Bytes) -> Blocks:
    parts = [
        # (digits, bytes): digit n of a byte stands for input n * bytes + place of the byte.
        _base_3_digits(blocks[:, :, :32], 5),
        _base_3_digits(blocks[:, :, 32:48], 5),
        _base_3_digits(blocks[:, :, 48:52], 4),
    ]
    digits = np.concatenate(parts, axis=2)
    return Blocks(_planes(digits.reshape(len(blocks), -1)), _scales(blocks[:, :, 52:]))


def _base_3_digits(bytes: Bytes, count: int) -> Bytes:
    """Read ``count`` digits of each byte, which is a fraction ``0.q0 q1 q2...`` of base 3 times 256."""
    powers = np.array([3**n for n in range(count)], dtype=np.uint8).reshape(count, 1)
    shifted = bytes[:, :, None, :] * powers  # modulo 256: the digits before are gone
    digits = (shifted.astype(np.uint16) * 3 >> 8).astype(np.uint8)
    return digits.reshape(*bytes.shape[:2], -1)


def _planes(digits: Bytes) -> Bytes:
    """Pack digits 0, 1 and 2 of the levels -1, 0 and 1 into the planes of a ternary weight."""
    return np.stack([np.packbits(plane, axis=1, bitorder="little") for plane in (digits != 1, digits == 2)])


_INFINITY, _MINUS_ZERO = 0x7C00, 0x8000  # the bits of float16


def _scales(bytes: Bytes) -> npt.NDArray[np.float16]:
    found = bytes.view("<u2")[:, :, 0].astype(np.uint16)
    # Without its sign, a float16 that is a number is below infinity; numpy asks floats themselves far slower.
    if not ((found < _INFINITY) | (found == _MINUS_ZERO)).all():
        raise FormatError("a scale is negative, infinite or NaN; the file is damaged")
    return found.view(np.float16)


def _scale_bytes(weight: Blocks) -> Bytes:
    return weight.scales.astype("<f2")[:, :, None].view(np.uint8)


BLOCK_TYPES = {
    "Q1_0": BlockType(128, 18, 1, _decode_q1_0, _encode_q1_0),
    "TQ1_0": BlockType(256, 54, 2, _decode_tq1_0, None),
    "TQ2_0": BlockType(256, 66, 2, _decode_tq2_0, _encode_tq2_0),
}
WRITTEN_TYPES = {1: "Q1_0", 2: "TQ2_0"}  # by the bits of a weight
