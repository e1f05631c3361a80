"""Assertions about many things, which fail where there is nothing to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def some(things: Iterable[T]) -> list[T]:
    """Return what a loop tests; there is at least one thing."""
    found = list(things)
    assert found, "there is nothing to look at"
    return found


def every(answers: Iterable[object]) -> bool:
    """Tell whether all answers are true, as ``all`` does; there is at least one."""
    return all(some(answers))


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Tell whether two state dicts have the same names and the same bits; they are not empty."""
    return left.keys() == right.keys() and every(torch.equal(left[name], right[name]) for name in left)
