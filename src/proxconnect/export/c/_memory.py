"""The place of every value in two static arrays, one of floats and one of words of bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One step of the network: a block of C that reads values and writes one.

    Args:
        comment: what it computes.
        lines: the statements; ``x0``, ``x1`` are the arrays that are read, ``y`` is the one that is written.
        reads: for each array that is read, the number of a value or the name of a constant, and the first
            element.
        result: the number of the value that is written.
        size: its number of elements.
        kind: ``"float"``, or ``"uint32_t"`` for packed signs.
        elementwise: each element is read before the element in its place is written, so that the result may
            overwrite a value of its size.
        scratch: floats that the step needs beside, in an array ``t``.
    """

    comment: str
    lines: Sequence[str]
    reads: Sequence[tuple[int | str, int]]
    result: int
    size: int
    kind: str = "float"
    elementwise: bool = False
    scratch: int = 0


@dataclass
class Plan:
    """The first element of every value and of the scratch of every step, and the length of the arrays."""

    first: dict[int, int] = field(default_factory=dict)
    scratch: list[int] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=lambda: {"float": 0, "uint32_t": 0})


def planned(steps: Sequence[Step], outside: frozenset[int], kept: frozenset[int]) -> Plan:
    """Give each value the first free place, and free it after its last use.

    Args:
        steps: in order.
        outside: the inputs of the network, which lie elsewhere.
        kept: values that are read after the last step.
    """
    last = {step.result: i for i, step in enumerate(steps)}
    for i, step in enumerate(steps):
        last |= {value: i for value, _ in step.reads if isinstance(value, int)}
    last |= dict.fromkeys(kept, len(steps))
    plan = Plan()
    taken: dict[str, dict[int, tuple[int, int]]] = {"float": {}, "uint32_t": {}}
    for i, step in enumerate(steps):
        places = taken[step.kind]
        ends = [value for value, _ in step.reads if isinstance(value, int) and last[value] == i]
        same = [
            value
            for value in ends
            if step.elementwise and value in places and places[value][1] == step.size and value not in outside
        ]
        start = places.pop(same[0])[0] if same else _free(places, step.size)
        places[step.result] = start, step.size
        plan.first[step.result] = start
        plan.scratch.append(_free(taken["float"], step.scratch) if step.scratch else 0)
        plan.sizes[step.kind] = max(plan.sizes[step.kind], start + step.size)
        if step.scratch:
            plan.sizes["float"] = max(plan.sizes["float"], plan.scratch[-1] + step.scratch)
        for value in {*ends, step.result}:
            if last[value] == i:
                for of_kind in taken.values():
                    of_kind.pop(value, None)
    return plan


def _free(places: dict[int, tuple[int, int]], size: int) -> int:
    """Find the first gap of this size."""
    start = 0
    for first, length in sorted(places.values()):
        if first - start >= size:
            break
        start = max(start, first + length)
    return start
