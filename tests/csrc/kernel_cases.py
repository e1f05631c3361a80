"""Writes the cases of kernel_test.cpp: operands of every kernel, and the results that numpy gives."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from case_parts import Part
from conv_cases import conv_cases
from latent_cases import latent_cases
from product_cases import product_cases


def encoded(part: Part) -> bytes:
    """Encode a number, or the length and the content of an array or text."""
    if isinstance(part, int):
        return np.int64(part).tobytes()
    content = part.encode() if isinstance(part, str) else part.tobytes()
    return np.int64(len(content) if isinstance(part, str) else part.size).tobytes() + content


def write_cases(path: Path, every: int = 1) -> None:
    """Write all cases, or of each kernel the first and then one in ``every``."""
    random = np.random.default_rng(0)
    with path.open("wb") as file, np.errstate(invalid="ignore", over="ignore"):
        all_cases = chain(product_cases(random), conv_cases(random), latent_cases(random))
        seen: Counter[object] = Counter()
        for case in all_cases:
            kernel = case[0]
            if seen[kernel] % every == 0:
                file.write(b"".join(map(encoded, case)))
            seen[kernel] += 1
