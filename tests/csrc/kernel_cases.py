"""Writes the cases of kernel_test.cpp: operands of every kernel, and the results that numpy gives."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
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


def write_cases(files: dict[Path, int]) -> None:
    """Write into each file, of each kernel, the first case and then one in so many."""
    random = np.random.default_rng(0)
    seen: Counter[object] = Counter()
    with ExitStack() as stack, np.errstate(invalid="ignore", over="ignore"):
        opened = [(stack.enter_context(path.open("wb")), every) for path, every in files.items()]
        for case in chain(product_cases(random), conv_cases(random), latent_cases(random)):
            content = b"".join(map(encoded, case))
            for file, every in opened:
                if seen[case[0]] % every == 0:
                    file.write(content)
            seen[case[0]] += 1
