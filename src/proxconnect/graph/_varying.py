"""The ranges of sizes for which a captured graph is valid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch.export import ExportedProgram

from proxconnect.errors import ExportError
from proxconnect.format import SizeRange
from proxconnect.graph._named_sizes import Bounds, NamedSizes

# Sizes are tried one by one up to this or four times the size of the example, then by powers of two.
_DENSE, _FAR = 512, 2**20
# The number of sizes that are tried below the smallest size that torch.export admits.
_TRIES = 64

# A trial returns the reason why graph and model differ at these sizes, or None if they agree.
Trial = Callable[[Mapping[str, int]], str | None]


def found_sizes(
    program: ExportedProgram,
    inputs: Sequence[torch.Tensor],
    named: NamedSizes,
    at: Mapping[str, int],
    trial: Trial,
) -> dict[str, SizeRange]:
    """Find the range of each named size, in which torch.export's assumptions hold or the trial succeeds.

    Args:
        program: a program that was exported with these sizes free.
        inputs: the inputs that the program was exported with.
        named: the names, and the bounds that the user gave.
        at: the sizes of the inputs by name.
        trial: compares graph and model.

    Raises:
        ExportError: a size cannot vary, cannot vary within the bounds that the user gave, or cannot vary
            independently of another.
    """
    admits = _assumptions(program, inputs, named)
    _refuse_fixed(program, named)
    ranges: dict[str, SizeRange] = {}
    corners: list[tuple[int, int]] = []
    # PyTorch 2.9 assumes that a tensor has less than 2^31 elements.
    far = round(_FAR ** (1 / len(at)))
    for name, size in at.items():

        def admits_alone(n: int, name: str = name) -> bool:
            return admits({**at, name: n})

        def answers(n: int, name: str = name) -> bool:
            return trial({**at, name: n}) is None

        admitted = _admitted(name, size, admits_alone)
        ranges[name] = _within(name, size, admitted, named.bounds[name], answers)
        corners.append((max(admitted.least, ranges[name].least), _above(ranges[name], size, far)))
    ranges = _smallest_at_once(ranges, named, at, trial)
    smallest = {name: sizes.least for name, sizes in ranges.items()}
    for sizes in smallest, *({**at, name: _above(sizes, at[name])} for name, sizes in ranges.items()):
        reason = trial(sizes)
        if reason is not None:
            raise ExportError(
                f"where {' and '.join(f'{name} is {n}' for name, n in sizes.items())}, {reason}"
            )
    if not all(admits(dict(zip(at, corner, strict=True))) for corner in itertools.product(*corners)):
        raise ExportError(f"the model takes {' and '.join(at)} only in some proportion")
    return ranges


def _assumptions(
    program: ExportedProgram, inputs: Sequence[torch.Tensor], named: NamedSizes
) -> Callable[[Mapping[str, int]], bool]:
    """Return a function that tells whether sizes satisfy the assumptions of torch.export."""
    guards = getattr(program.module(), "_guards_fn", None)
    if guards is None:  # PyTorch looks for these words in the paths of all code that is being run
        raise ExportError(
            "PyTorch does not tell code in a folder or file named executorch, torchao, modai or on_device_ai "
            "which sizes a model takes; give the folder of your code or environment another name"
        )

    def admits(sizes: Mapping[str, int]) -> bool:
        stand_ins = []
        for tensor, changed in zip(inputs, named.at(sizes), strict=True):
            shape = [changed.get(dimension, size) for dimension, size in enumerate(tensor.shape)]
            stand_ins.append(torch.empty(shape, dtype=tensor.dtype, device="meta"))
        try:
            guards(*stand_ins)
        except AssertionError:
            return False
        return True

    return admits


def _refuse_fixed(program: ExportedProgram, named: NamedSizes) -> None:
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    symbols: dict[str, str] = {}
    for user_input, names in zip(program.graph_signature.user_inputs, named.names, strict=True):
        shape = places[str(user_input)].meta["val"].shape
        for dimension, name in names.items():
            if isinstance(shape[dimension], int):
                raise ExportError(f"the model takes no other {name} than {shape[dimension]}")
            other = symbols.setdefault(str(shape[dimension]), name)
            if other != name:
                raise ExportError(f"the model wants {other} and {name} to be equal: give them one name")


def _admitted(name: str, size: int, admits: Callable[[int], bool]) -> SizeRange:
    """Find the range of sizes around ``size`` that are admitted."""
    dense = max(_DENSE, 4 * size)
    known = [False, *map(admits, range(1, dense + 1))]
    step = next(
        (s for s in range(1, dense) if any(known[n] for n in (size - s, size + s) if 0 < n <= dense)), 0
    )
    if not step:
        raise ExportError(f"the model takes no other {name} than {size}")
    least = most = size
    while least - step > 0 and known[least - step]:
        least -= step
    while most + step <= dense and known[most + step]:
        most += step
    if most + step <= dense:
        return SizeRange(least, most, step)
    good, bad = 0, 1
    while bad < _FAR and admits(most + bad * step):
        good, bad = bad, 2 * bad
    if bad >= _FAR:
        return SizeRange(least, None, step)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if admits(most + middle * step) else (good, middle)
    return SizeRange(least, most + good * step, step)


def _within(
    name: str,
    size: int,
    admitted: SizeRange,
    bounds: Bounds,
    answers: Callable[[int], bool],
) -> SizeRange:
    """Return the sizes within the user's bounds, or without bounds the sizes that the model takes."""
    least, most, step = admitted.least, admitted.most, admitted.step
    floor = bounds[0] or 1
    if floor > least:
        least = size - (size - floor) // step * step
    while least < size and not answers(least):
        least = min(size, least + max(step, (size - least) // 2 // step * step))
    # Inside of a network torch.export treats sizes of 1 as special, and so admits too few sizes.
    for _ in range(_TRIES):
        if least - step < floor or not answers(least - step):
            break
        least -= step
    if bounds[0] is not None and least - step >= floor:
        raise ExportError(f"{name} is to begin at {floor}, but the model takes it from {least}")
    if bounds[1] is not None:
        if most is not None and most < bounds[1] and most + step <= bounds[1]:
            raise ExportError(f"{name} is to end at {bounds[1]}, but the model takes it up to {most}")
        most = size + (bounds[1] - size) // step * step
    return SizeRange(least, most, step)


def _smallest_at_once(
    ranges: Mapping[str, SizeRange], named: NamedSizes, at: Mapping[str, int], trial: Trial
) -> dict[str, SizeRange]:
    """Raise the smallest sizes until all sizes may be smallest at once; sizes that the user gave stay."""
    found = dict(ranges)
    for _ in range(_TRIES):
        if trial({name: sizes.least for name, sizes in found.items()}) is None:
            break
        for name, sizes in found.items():
            if named.bounds[name][0] is None:
                found[name] = replace(sizes, least=min(at[name], sizes.least + sizes.step))
    return found


def _above(sizes: SizeRange, size: int, far: int = 4) -> int:
    """Return a size that is larger than ``size`` by about ``far``, or the largest size."""
    larger = size + max(1, far // sizes.step) * sizes.step
    return larger if sizes.most is None else min(larger, sizes.most)
