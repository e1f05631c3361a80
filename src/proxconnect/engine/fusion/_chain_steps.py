"""Turn elementwise operators into steps of a chain, and try whether the chain rounds as torch does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.engine._torch_operators import Operand
from proxconnect.graph import Node, TensorName, Value
from proxconnect.graph.operators import resolve
from proxconnect.kernels import Chain, Step, chain_rows

Constant = Callable[[object], Tensor | None]
_ARITHMETIC = ("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")
# The least and greatest value to which operators clip, where their arguments do not say.
_CLIPS: dict[str, tuple[float | None, float | None]] = {
    "relu.default": (0.0, None),
    "relu6.default": (0.0, 6.0),
    "hardtanh.default": (-1.0, 1.0),
    "clamp.default": (None, None),
}
# All operators that may be steps of a chain.
STEPS = {*_ARITHMETIC, *_CLIPS, "batch_norm.default", "prelu.default"}


@dataclass(frozen=True)
class Layout:
    """The layout of a chain's values: their number of dimensions, and which of these holds the n outputs.

    ``kind`` is the kind of layer whose kernels take such values.
    """

    kind: type[Operand]
    n: int
    rank: int
    channels: int

    def rows(self, x: Tensor) -> Tensor:
        """Reshape values to (rows, n)."""
        return x.movedim(self.channels, -1).reshape(-1, self.n)

    def values(self, rows: Tensor) -> Tensor:
        """Reshape 32 rows to values."""
        sizes = (32,) if self.rank == 2 else (2, *[2] * (self.rank - 3), -1)
        return rows.reshape(*sizes, self.n).movedim(-1, self.channels)

    def spread(self, constant: Tensor | float) -> Tensor | None:
        """Return a constant as a number for each output; None where it has other dimensions."""
        if not isinstance(constant, Tensor):
            constant = torch.tensor(constant, dtype=torch.float32, device="cpu")
        if constant.dtype != torch.float32 or constant.ndim > self.rank:
            return None
        sizes = (1,) * (self.rank - constant.ndim) + tuple(constant.shape)
        if math.prod(sizes) not in (1, self.n) or sizes[self.channels] != math.prod(sizes):
            return None
        return constant.detach().reshape(-1).expand(self.n).contiguous()


@dataclass(frozen=True)
class Link:
    """An operator of a chain: its node, and which of its arguments the chain comes through."""

    node: Node
    place: int

    @property
    def residual(self) -> Value | None:
        """The value besides the chain's own that an addition reads."""
        other = self.node.args[1 - self.place] if self.node.op == "aten.add.Tensor" else None
        return other if isinstance(other, Value) else None

    def __call__(self, y: Tensor, residual: Tensor | None, constant: Constant) -> Tensor:
        """Call torch's operator."""
        args = [constant(a) if isinstance(a, TensorName) else a for a in self.node.args]
        args[self.place] = y
        args = [residual if isinstance(a, Value) else a for a in args]
        result: Tensor = resolve(self.node.op)(*args)
        return result


def steps_of(link: Link, layout: Layout, constant: Constant, contracted: bool) -> list[Step] | None:
    """Return the steps that compute as an operator does; None where there are none.

    Args:
        link: the operator.
        layout: of its result and of the value that the chain comes through.
        constant: returns the tensor that an argument names.
        contracted: torch rounds a BatchNorm's product and sum once.
    """
    node, place = link.node, link.place
    name = node.op.removeprefix("aten.")
    if node.kwargs or not node.args:
        return None
    if name in _ARITHMETIC and len(node.args) == 2:
        if link.residual is not None:
            return [Step("add_residual")]
        other = node.args[1 - place]
        given = other if isinstance(other, int | float) else constant(other)
        c = None if given is None else layout.spread(given)
        return None if c is None else _arithmetic(name[:3], place, c)
    if place != 0:
        return None
    if name == "batch_norm.default":
        return _norm(node, layout, constant, contracted)
    if name == "prelu.default":
        return _prelu(constant(node.args[1]), layout)
    bounds = _bounds(name, node.args[1:])
    if bounds is None:
        return None
    return [
        Step(kind, (c,))
        for kind, bound in zip(("at_least", "at_most"), bounds, strict=True)
        if bound is not None and (c := layout.spread(bound)) is not None
    ]


def _arithmetic(name: str, place: int, c: Tensor) -> list[Step] | None:
    """Return the steps for y and a constant, in this order or (``place`` 1) in the other."""
    if name in ("add", "mul"):
        return [Step("add" if name == "add" else "multiply", (c,))]
    if place == 0:
        return [Step("add", (-c,)) if name == "sub" else Step("divide", (c,))]
    return [Step("multiply", (-torch.ones_like(c),)), Step("add", (c,))] if name == "sub" else None


def _bounds(name: str, args: Sequence[object]) -> tuple[float | None, float | None] | None:
    """Return the least and greatest value that an operator clips to; None for other operators."""
    bounds = [a for a in args if a is None or (isinstance(a, int | float) and not isinstance(a, bool))]
    missing = _CLIPS.get(name)
    if missing is None or len(bounds) != len(args) or len(args) > 2:
        return None
    given = [*bounds, *missing[len(bounds) :]]
    return given[0], given[1]


def _prelu(slope: Tensor | None, layout: Layout) -> list[Step] | None:
    """Return the steps of a PReLU, whose slopes are those of dimension 1."""
    if slope is None or slope.dtype != torch.float32 or slope.numel() not in (1, layout.n):
        return None
    if slope.numel() > 1 and layout.channels != 1:
        return None
    return [Step("prelu", (slope.detach().reshape(-1).expand(layout.n).contiguous(),))]


def _norm(node: Node, layout: Layout, constant: Constant, contracted: bool) -> list[Step] | None:
    """Return the steps of a BatchNorm with running statistics, whose factors torch's operator itself tells.

    Without a mean and a bias it makes the factor of 1, and with them the summand of 0.
    """
    named = node.args[1:5]
    given = [constant(argument) for argument in named]
    weight, _, mean, variance = given
    if layout.channels != 1 or mean is None or variance is None or node.args[5]:
        return None
    known = [a is None or tensor is not None for a, tensor in zip(named, given, strict=True)]
    if not all(known) or any(tensor is not None and tensor.dtype != torch.float32 for tensor in given):
        return None
    ones = torch.ones(1, layout.n, 1, 1, dtype=torch.float32, device="cpu")
    nothing = torch.zeros(layout.n, dtype=torch.float32, device="cpu")
    norm = resolve(node.op)
    factor = norm(ones, weight, nothing, nothing, variance, *node.args[5:]).detach().reshape(-1)
    factor = factor if weight is None else factor.copysign(weight.detach())
    summand = norm(torch.zeros_like(ones), *given, *node.args[5:]).detach().reshape(-1)
    if contracted:
        return [Step("multiply_add", (factor, summand))]
    return [Step("multiply", (factor,)), Step("add", (summand,))]


def faithful_steps(
    head: Sequence[Step], links: Sequence[Link], layout: Layout, constant: Constant, greatest: int
) -> list[Step] | None:
    """Return the steps of a chain, or None where they do not give the very bits of torch's operators.

    Torch may round the product and the sum of a BatchNorm once or twice, as it was compiled. Both are tried
    on samples, in every memory format.

    Args:
        head: the steps that come first, which stand for no operator.
        links: the operators that follow.
        layout: of all values.
        constant: returns the tensor that an argument names.
        greatest: samples are integers from -greatest to greatest; 0 for floats of all sizes.
    """
    for contracted in (True, False):
        found = [steps_of(link, layout, constant, contracted) for link in links]
        if any(steps is None for steps in found):
            return None
        steps = [*head, *(step for steps in found if steps is not None for step in steps)]
        if _is_faithful(head, steps, links, layout, constant, greatest):
            return steps
        if not any(step.kind == "multiply_add" for step in steps):
            return None
    return None


def _is_faithful(
    head: Sequence[Step],
    steps: Sequence[Step],
    links: Sequence[Link],
    layout: Layout,
    constant: Constant,
    greatest: int,
) -> bool:
    x, residual = _samples(layout.n, greatest)
    found = _run(x, steps, residual)
    start = layout.values(_run(x, head, residual))
    beside = layout.values(residual)
    for arranged in _formats(layout):
        y, other = arranged(start), arranged(beside)
        for link in links:
            y = link(y, other, constant)
        if y.shape != start.shape or not _same_bits(layout.rows(y.detach()), found):
            return False
    return True


def _run(x: Tensor, steps: Sequence[Step], residual: Tensor) -> Tensor:
    chain = Chain.of(steps, x.shape[1])
    floats = chain_rows(x, chain, residual if chain.adds else None).floats
    assert floats is not None
    return floats


def _samples(n: int, greatest: int) -> tuple[Tensor, Tensor]:
    """Draw 32 rows, and a residual, of floats of many sizes, infinities, NaN and zeros of both signs."""
    generator = torch.Generator(device="cpu").manual_seed(0)

    def floats() -> Tensor:
        drawn = torch.randn(32, n, generator=generator, dtype=torch.float32, device="cpu")
        drawn *= 10 ** torch.randint(-2, 3, (32, 1), generator=generator, dtype=torch.float32, device="cpu")
        for row, value in zip(drawn, (math.inf, -math.inf, math.nan, 0.0, -0.0), strict=False):
            row.fill_(value)
        return drawn[torch.randperm(32, generator=generator, dtype=torch.int64, device="cpu")]

    if not greatest:
        return floats(), floats()
    sums = torch.randint(
        -greatest, greatest + 1, (32, n), generator=generator, dtype=torch.float32, device="cpu"
    )
    return sums, floats()


def _formats(layout: Layout) -> Iterator[Callable[[Tensor], Tensor]]:
    yield Tensor.contiguous
    if layout.rank == 4:
        yield lambda x: x.contiguous(memory_format=torch.channels_last)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors are the same but for the bits of NaN."""
    there = ~(a.isnan() & b.isnan())
    return torch.equal(a.view(torch.int32)[there], b.view(torch.int32)[there])
