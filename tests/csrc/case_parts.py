"""Parts of the cases of all kernels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from kernel_reference import Array

Part = int | Array | str
Case = list[Part]
Cases = Iterator[Case]


def numbers(random: np.random.Generator, *shape: int) -> Array:
    """Zeros of both signs among normal numbers."""
    x = random.standard_normal(shape, np.float32)
    x[random.random(shape) < 0.1] = 0.0
    x[random.random(shape) < 0.1] = -0.0
    return x


def finish(random: np.random.Generator, n: int, k: int, rows: int) -> tuple[Array, list[Array | None]]:
    """Draw a scale, and some or all of bias, residual and slope."""

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape, np.float32)

    residual = normal(rows, n) if random.integers(2) else None
    slope = numbers(random, n) if random.integers(2) else None
    return normal(n), [normal(n) * np.float32(k**0.5), residual, slope]


def or_empty(parts: list[Array | None]) -> list[Part]:
    return [part if part is not None else np.empty(0, np.float32) for part in parts]
