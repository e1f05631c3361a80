"""Writes the cases of kernel_test.cpp: operands of every kernel, and the results that numpy gives."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
from case_parts import Part
from conv_cases import conv_cases
from decoding_cases import decoding_cases
from latent_cases import latent_cases
from product_cases import product_cases


def encoded(part: Part) -> bytes:
    """Encode a number, or the length and the content of an array or text."""
    if isinstance(part, int):
        return np.int64(part).tobytes()
    content = part.encode() if isinstance(part, str) else part.tobytes()
    return np.int64(len(content) if isinstance(part, str) else part.size).tobytes() + content


CASES = product_cases, conv_cases, latent_cases, decoding_cases
GOLDEN = (5**0.5 - 1) / 2


def is_in(part: float, place: int) -> bool:
    """Tell whether a part of a list has this place: the first, and others that follow no period."""
    return place * GOLDEN % 1 < part


def write_cases(files: dict[Path, float]) -> None:
    """Write a part of the cases of each kernel, the first among them, into each file."""
    random = np.random.default_rng(0)
    seen: Counter[object] = Counter()
    with ExitStack() as stack, np.errstate(invalid="ignore", over="ignore"):
        opened = [(stack.enter_context(path.open("wb")), part) for path, part in files.items()]
        for case in chain(*(cases(random) for cases in CASES)):
            content = b"".join(map(encoded, case))
            for file, part in opened:
                if is_in(part, seen[case[0]]):
                    file.write(content)
            seen[case[0]] += 1
