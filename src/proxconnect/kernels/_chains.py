"""Take floats, or sums of products of signs, through elementwise steps that round as torch's operators do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format.bits import packed_width
from proxconnect.kernels._checks import address, address_of_shape, sign_rows
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._images import sign_images
from proxconnect.kernels._panels import Panels

STEPS = {kind.name: kind for kind in native.StepKind}


class Step(NamedTuple):
    """An elementwise step on y, with one constant c, or c and d, for each output; it rounds once.

    =================  ========================================
    ``multiply``       ``y * c``
    ``add``            ``y + c``
    ``divide``         ``y / c``
    ``multiply_add``   ``y * c + d``
    ``add_residual``   ``y + residual``
    ``prelu``          ``y`` where ``y > 0``, ``y * c`` elsewhere
    ``at_least``       ``c`` where ``y < c``, ``y`` elsewhere
    ``at_most``        ``c`` where ``y > c``, ``y`` elsewhere
    =================  ========================================
    """

    kind: str
    constants: tuple[Tensor, ...] = ()


class Outputs(NamedTuple):
    """The results of a chain: floats, their signs packed, or both; None for what was not asked for."""

    floats: Tensor | None
    signs: Tensor | None


@dataclass(eq=False)
class Chain:
    """Steps that follow each other, and what is kept of their result.

    Make one by :meth:`of` or :meth:`over`, which check their arguments.

    Attributes:
        kinds: the numbers of the steps' kinds.
        constants: float32 of shape (constants of all steps, n), in the order of the steps.
        floats: the floats after the last step are wanted.
        signs: their signs are wanted; both zeros and NaN count as +1.
        n: outputs.
        adds: a step adds a residual.
    """

    kinds: tuple[int, ...]
    constants: Tensor
    floats: bool = True
    signs: bool = False

    def __post_init__(self) -> None:
        self.n = self.constants.shape[1]
        self.adds = native.StepKind.add_residual.value in self.kinds
        self._kinds = torch.tensor(self.kinds, dtype=torch.int32, device="cpu")

    @classmethod
    def of(cls, steps: Sequence[Step], n: int, *, floats: bool = True, signs: bool = False) -> Self:
        """Copy the constants of steps, each float32 of shape (n,).

        Raises:
            ProxConnectError: a step is unknown, or its constants are not as described.

        >>> Chain.of([Step("add", (torch.ones(3),)), Step("add_residual")], 3, signs=True)
        Chain(steps=2, n=3, floats=True, signs=True)
        """
        for kind, constants in steps:
            if kind not in STEPS:
                raise ProxConnectError(unknown_name("step", kind, STEPS))
            if len(constants) != native.constants_of(STEPS[kind]):
                wanted = native.constants_of(STEPS[kind])
                raise ProxConnectError(f"step {kind!r} has {len(constants)} constants; expected {wanted}")
            for values in constants:
                address_of_shape(values, f"a constant of {kind!r}", torch.float32, (n,))
        rows = [values for _, constants in steps for values in constants]
        none = torch.empty(0, n, dtype=torch.float32, device="cpu")
        return cls.over(
            [STEPS[kind].value for kind, _ in steps],
            torch.stack(rows) if rows else none,
            floats=floats,
            signs=signs,
        )

    @classmethod
    def over(
        cls, kinds: Sequence[int], constants: Tensor, *, floats: bool = True, signs: bool = False
    ) -> Self:
        """Take kinds by their numbers, and constants as the attributes have them, without a copy.

        Raises:
            ProxConnectError: a number is unknown, the constants are not those of the steps, or nothing is
                wanted.
        """
        known = {kind.value: native.constants_of(kind) for kind in native.StepKind}
        if not set(kinds) <= known.keys():
            raise ProxConnectError(f"steps {list(kinds)} hold a number beyond {max(known)}, the last kind")
        if not (floats or signs):
            raise ProxConnectError("neither floats nor signs are wanted; ask for one of them")
        n = constants.shape[-1]
        shape = sum(known[kind] for kind in kinds), n
        address_of_shape(constants, "constants", torch.float32, shape, "those of the steps")
        return cls(tuple(kinds), constants, floats, signs)

    def outputs(self, rows: tuple[int, ...]) -> Outputs:
        """Make room for the results of so many rows, given as the shape before the outputs."""
        floats = torch.empty(*rows, self.n, dtype=torch.float32, device="cpu") if self.floats else None
        width = packed_width(self.n)
        signs = torch.empty(*rows, width, dtype=torch.uint8, device="cpu") if self.signs else None
        return Outputs(floats, signs)

    def arguments(
        self, outputs: Outputs, n: int, rows: tuple[int, ...], residual: Tensor | None
    ) -> tuple[int, int, int, int, int, int]:
        """Return what compiled code takes for this chain.

        Raises:
            ProxConnectError: the chain has not ``n`` outputs, or the residual is not float32 of shape
                (*rows, n), contiguous, where a step adds one, and None elsewhere.
        """
        constant = self.constant_arguments(n)
        if self.adds != (residual is not None):
            raise ProxConnectError(
                "a step of the chain adds a residual, and none is given"
                if self.adds
                else "a residual is given, and no step of the chain adds one"
            )
        added = 0
        if residual is not None:
            added = address_of_shape(residual, "residual", torch.float32, (*rows, n), "that of the output")
        floats, signs = (0 if output is None else pointer(output) for output in outputs)
        return floats, signs, *constant, added

    def constant_arguments(self, n: int) -> tuple[int, int, int]:
        """Return what compiled code takes for the steps of this chain.

        Raises:
            ProxConnectError: the chain has not ``n`` outputs.
        """
        if self.n != n:
            raise ProxConnectError(f"the chain has constants for {self.n} outputs; expected {n}")
        return pointer(self._kinds), len(self.kinds), pointer(self.constants)

    def __repr__(self) -> str:
        return f"Chain(steps={len(self.kinds)}, n={self.n}, floats={self.floats}, signs={self.signs})"


def chain_rows(x: Tensor, chain: Chain, residual: Tensor | None = None) -> Outputs:
    """Take rows of floats through a chain.

    Args:
        x: float32 of shape (m, n) on the CPU, each row contiguous.
        chain: of n outputs.
        residual: float32 of shape (m, n), contiguous, if a step adds one.

    Returns:
        float32 of shape (m, n) and uint8 of shape (m, packed_width(n)).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> twice_and_one = Step("multiply_add", (torch.full((2,), 2.0), torch.ones(2)))
    >>> chain_rows(torch.tensor([[1.0, -1.0]]), Chain.of([twice_and_one], 2, signs=True))
    Outputs(floats=tensor([[ 3., -1.]]), signs=tensor([[1]], dtype=torch.uint8))
    """
    x_address = address(x, "x", torch.float32, dimensions=2, rows_apart=True)
    m, n = x.shape
    outputs = chain.outputs((m,))
    steps = chain.arguments(outputs, n, (m,), residual)
    run(native.chain_rows, (x_address, x.stride(0), m), n, steps)
    return outputs


def w1a1_chain(
    a: Tensor, weight: Panels, chain: Chain, residual: Tensor | None = None, *, wrap: bool = False
) -> Outputs:
    """Multiply two matrices of signs, then take the sums, as floats, through a chain.

    Args:
        a: as for :func:`w1a1_sums`.
        weight: (n, k) signs.
        chain: of n outputs.
        residual: float32 of shape (m, n), contiguous, if a step adds one.
        wrap: keep 8 bits of the sum.

    Returns:
        float32 of shape (m, n) and uint8 of shape (m, packed_width(n)).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> a, weight = pack_signs(torch.ones(1, 3)), Panels.lay_out(pack_signs(torch.ones(2, 3)), 3)
    >>> w1a1_chain(a, weight, Chain.of([Step("multiply", (torch.tensor([0.5, -1.0]),))], 2)).floats
    tensor([[ 1.5000, -3.0000]])
    """
    rows, m = sign_rows(a, "a", weight.k), a.shape[0]
    outputs = chain.outputs((m,))
    steps = chain.arguments(outputs, weight.n, (m,), residual)
    run(native.w1a1_chain, rows, weight.arguments(), wrap, steps)
    return outputs


def w1a1_conv_chain(
    a: Tensor,
    weight: ConvPanels,
    geometry: Geometry,
    chain: Chain,
    residual: Tensor | None = None,
    *,
    wrap: bool = False,
) -> Outputs:
    """Convolve images of signs, then take the sums, as floats, through a chain.

    Args:
        a: as for :func:`w1a1_conv_sums`.
        weight: the signs of the weight.
        geometry: stride, padding, dilation and fill.
        chain: of n outputs.
        residual: float32 of shape (N, Ho, Wo, n), contiguous, if a step adds one.
        wrap: keep 8 bits of the sum.

    Returns:
        float32 of shape (N, Ho, Wo, n) and uint8 of shape (N, Ho, Wo, packed_width(n)).

    Raises:
        ProxConnectError: an argument is not as described, or the kernel is larger than the padded image.

    >>> from proxconnect.kernels import pack_pixels, pack_signs
    >>> a = pack_pixels(torch.ones(1, 1, 3, 3))
    >>> weight = ConvPanels.lay_out(pack_signs(torch.ones(1, 9)), (1, 1, 3, 3))
    >>> w1a1_conv_chain(a, weight, Geometry(), Chain.of([], 1)).floats
    tensor([[[[9.]]]])
    """
    a, images, rows = sign_images(a, weight, geometry)
    outputs = chain.outputs(rows)
    steps = chain.arguments(outputs, weight.n, rows, residual)
    run(native.w1a1_conv_chain, images, weight.arguments(), geometry.arguments, wrap, steps)
    return outputs
