"""The blocks of GGUF files, one weight at a time, as their formulas say: the second opinion of the tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def q1_0(block: bytes) -> Floats:
    """``w[i] = d`` if bit ``i mod 8`` of byte ``2 + i div 8`` is 1, else ``-d``."""
    d = scale(block[0:2])
    return np.array([d if block[2 + i // 8] >> i % 8 & 1 else -d for i in range(128)], np.float32)


def tq2_0(block: bytes) -> Floats:
    """``w[128 j + 32 k + m] = (q - 1) d``; bits ``2 k`` and ``2 k + 1`` of byte ``32 j + m`` are ``q``."""
    d, weights = scale(block[64:66]), np.zeros(256, np.float32)
    for j in range(2):
        for k in range(4):
            for m in range(32):
                weights[128 * j + 32 * k + m] = ((block[32 * j + m] >> 2 * k & 3) - 1) * d
    return weights


def tq1_0(block: bytes) -> Floats:
    """``w = (q - 1) d``, ``q`` being digit ``n`` of base 3 of the fraction ``byte / 256``.

    32 bytes have five digits each: digit ``n`` of byte ``m`` is input ``32 n + m``. Then 16 bytes have five
    (``160 + 16 n + m``), and 4 bytes four (``240 + 4 n + m``).
    """
    d, weights = scale(block[52:54]), np.zeros(256, np.float32)
    for first, count, digits, start in ((0, 32, 5, 0), (32, 16, 5, 160), (48, 4, 4, 240)):
        for n in range(digits):
            for m in range(count):
                rest = block[first + m] * 3**n % 256  # what is left of 256 times the fraction
                weights[start + count * n + m] = (rest * 3 // 256 - 1) * d
    return weights


def scale(two: bytes) -> np.float32:
    return np.float32(np.frombuffer(two, "<f2")[0])


DECODERS = {"Q1_0": (18, q1_0), "TQ1_0": (54, tq1_0), "TQ2_0": (66, tq2_0)}


def decode(kind: str, rows: npt.NDArray[np.uint8]) -> Floats:
    """Decode rows of blocks, uint8 of shape ``(rows, bytes of a row)``."""
    size, one = DECODERS[kind]
    return np.stack(
        [np.concatenate([one(row[i : i + size].tobytes()) for i in range(0, len(row), size)]) for row in rows]
    )
