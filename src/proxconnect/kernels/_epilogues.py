"""Hold what kernels do with a sum of products before it leaves the registers: epilogues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import pack_bits, packed_width
from proxconnect.kernels._checks import address_of_shape
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._gateway import pointer
from proxconnect.kernels._group_scales import scales_by_panels
from proxconnect.kernels._panels import PANEL_WIDTH, WORD_BITS, Panels


@dataclass(eq=False)
class Affine:
    """``y = prelu(s * scale + bias + residual)`` in float32, each operation rounded by itself.

    Scale and bias hold whatever is constant: the weight's scale, a layer's bias, a BatchNorm.

    Make one by :meth:`of` or :meth:`over`, which check their arguments.

    Attributes:
        scale: float32 of shape (n,). With ``group``: float16 or float32 of shape (panels, groups, 16), in
            panels of 16 outputs, the last filled up with zeros.
        bias: float32 of shape (n,).
        slope: float32 of shape (n,): the slope of the PReLU at y < 0; None for no PReLU. A slope of 0 makes
            it a ReLU, which is 0 at minus infinity too.
        group: neighbouring inputs that share a scale, a multiple of 32 (the last group may have fewer); None
            where all do.
        n: outputs.
    """

    scale: Tensor
    bias: Tensor
    slope: Tensor | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        self.n = self.bias.shape[-1]

    @classmethod
    def of(
        cls,
        scale: Tensor,
        bias: Tensor | None = None,
        slope: Tensor | None = None,
        group: int | None = None,
    ) -> Self:
        """Keep copies, which nobody else can change: in float32, but for float16 scales of groups.

        Args:
            scale: floating point, of shape (n,), or with ``group`` (groups, n).
            bias: floating point, of shape (n,); zeros where absent.
            slope: floating point, of shape (n,); no PReLU where absent.
            group: neighbouring inputs that share a scale; all where absent.

        Raises:
            ProxConnectError: a shape or ``group`` is not as described, or a tensor is not floating point on
                the CPU.

        >>> Affine.of(torch.ones(3)), Affine.of(torch.ones(2, 3), group=32)
        (Affine(n=3), Affine(n=3, groups=2 of 32))
        """
        if scale.ndim != _dimensions(group):
            raise _other_scale(scale, group, "(groups, n)")
        n = scale.shape[-1]
        constant = _constant(scale, "scale", scale.shape)
        if group is not None:
            dtype = torch.float16 if scale.dtype == torch.float16 else torch.float32
            constant = scales_by_panels(constant.T).to(dtype)
        return cls(
            constant,
            torch.zeros(n, dtype=torch.float32, device="cpu")
            if bias is None
            else _constant(bias, "bias", (n,)),
            None if slope is None else _constant(slope, "slope", (n,)),
            group,
        )

    @classmethod
    def over(cls, scale: Tensor, bias: Tensor, slope: Tensor | None = None, group: int | None = None) -> Self:
        """Take these tensors themselves, without a copy.

        Raises:
            ProxConnectError: they are not on the CPU, or not as the attributes are described.
        """
        if scale.ndim != (1 if _dimensions(group) == 1 else 3):
            raise _other_scale(scale, group, "(panels, groups, 16)")
        n = scale.shape[0] if group is None else bias.shape[-1] if bias.ndim else 0
        for values in (bias,) if slope is None else (bias, slope):
            address_of_shape(values, "bias or slope", torch.float32, (n,))
        shape: tuple[int, ...] = (n,)
        dtype = torch.float32
        if group is not None:
            shape = -(-n // PANEL_WIDTH), scale.shape[1], PANEL_WIDTH
            dtype = torch.float16 if scale.dtype == torch.float16 else torch.float32
        address_of_shape(scale, "scale", dtype, shape)
        return cls(scale, bias, slope, group)

    def scaled(self, gain: Tensor, bias: Tensor) -> Self:
        """Return an epilogue of the scales times ``gain``, of shape (n,), and of another bias; no PReLU."""
        if self.group is None:
            return type(self).of(self.scale * gain, bias)
        scale = (self.scale * scales_by_panels(gain[:, None])).to(torch.float32)
        return type(self)(scale, _constant(bias, "bias", (self.n,)), None, self.group)

    def arguments(
        self,
        weight: Panels | ConvPanels,
        rows: tuple[int, ...],
        residual: Tensor | None,
        *,
        grouped: bool = False,
    ) -> tuple[int, int, int, int]:
        """Return the addresses of residual, scale, bias and slope, 0 for what is absent.

        Args:
            weight: what the sums are of.
            rows: the shape of the output before the n outputs, which come last.
            residual: float32 of the output's shape, contiguous.
            grouped: the kernel takes a scale for each group of inputs.

        Raises:
            ProxConnectError: the outputs or groups are not those of ``weight``, the kernel takes no groups,
                or the residual is not as described.
        """
        if self.n != weight.n:
            raise _other_outputs("affine", self.n, weight)
        if self.group is not None:
            if not grouped:
                raise ProxConnectError("affine has scales for groups of inputs; this kernel takes none")
            groups = max(-(-weight.k // self.group), 1)
            if self.scale.shape[1] != groups:
                raise ProxConnectError(
                    f"affine has scales for {self.scale.shape[1]} groups of inputs; expected {groups}, as "
                    f"{weight.k} inputs have groups of {self.group}"
                )
        residual_address = 0
        if residual is not None:
            shape = (*rows, self.n)
            residual_address = address_of_shape(
                residual, "residual", torch.float32, shape, "that of the output"
            )
        slope = 0 if self.slope is None else pointer(self.slope)
        return residual_address, pointer(self.scale), pointer(self.bias), slope

    def groups(self, weight: Panels) -> tuple[int, bool]:
        """Return how many inputs share a scale, a multiple of 32, and whether scales are float16."""
        group = WORD_BITS * max(weight.words.shape[1], 1) if self.group is None else self.group
        return group, self.scale.dtype == torch.float16

    def __repr__(self) -> str:
        groups = "" if self.group is None else f", groups={self.scale.shape[1]} of {self.group}"
        return f"Affine(n={self.n}{groups})"


@dataclass(eq=False)
class Thresholds:
    """Decisions on integer sums: ``(s >= threshold) != flip``.

    The sign of an expression that turns once as the sum grows is such a decision. :meth:`of` and
    :meth:`deciding` find the turning point by evaluating the expression itself, so the decision is that of
    the expression for every sum.

    Attributes:
        threshold: int32 of shape (n,).
        flip: uint8 of shape (1, packed_width(n)), bits.
        n: outputs.
    """

    threshold: Tensor
    flip: Tensor

    def __post_init__(self) -> None:
        self.n = self.threshold.shape[0]

    @classmethod
    def of(cls, scale: Tensor, bias: Tensor, k: int, *, wrap: bool = False) -> Self:
        """Decide as ``sign(s * scale + bias)`` does in float32.

        Args:
            scale: of shape (n,), finite.
            bias: of shape (n,), finite.
            k: products in a sum, so that ``-k <= s <= k``.
            wrap: sums are kept in 8 bits, so that ``-128 <= s <= 127``.

        Raises:
            ProxConnectError: scale and bias are not as described.

        >>> fold = Thresholds.of(torch.tensor([1.0, -1.0]), torch.tensor([-2.5, 3.0]), k=9)
        >>> fold.threshold, fold.flip
        (tensor([3, 4], dtype=torch.int32), tensor([[2]], dtype=torch.uint8))
        """
        n = scale.numel()
        scale = _constant(scale, "scale", (n,))
        bias = _constant(bias, "bias", (n,))
        for name, values in (("scale", scale), ("bias", bias)):
            if not values.isfinite().all():
                raise ProxConnectError(f"{name} holds an infinity or a NaN; no threshold stands for it")
        return cls.deciding(lambda sums: sums.to(torch.float32) * scale + bias >= 0, n, k, wrap=wrap)

    @classmethod
    def deciding(cls, decide: Callable[[Tensor], Tensor], n: int, k: int, *, wrap: bool = False) -> Self:
        """Find the thresholds of any decisions that turn at most once as the sums grow.

        Args:
            decide: from sums, int64 of shape (n,), to decisions, bool of the same shape.
            n: outputs.
            k: products in a sum.
            wrap: as above.

        >>> Thresholds.deciding(lambda sums: sums * sums * sums >= 8, n=1, k=9).threshold
        tensor([2], dtype=torch.int32)
        """
        least, greatest = (-128, 127) if wrap else (-k, k)
        falling = decide(torch.full((n,), least, dtype=torch.int64, device="cpu"))
        # Bisection for the least sum at which the decision has turned; greatest + 1 where it never does.
        low = torch.full((n,), least, dtype=torch.int64, device="cpu")
        high = torch.full((n,), greatest + 1, dtype=torch.int64, device="cpu")
        while (low < high).any():
            middle = (low + high) // 2
            turned = decide(middle) != falling
            high = torch.where(turned, middle, high)
            low = torch.where(turned, low, torch.minimum(middle + 1, high))
        return cls(low.to(torch.int32), pack_bits(falling[None]))

    @classmethod
    def over(cls, threshold: Tensor, flip: Tensor) -> Self:
        """Take these tensors themselves, without a copy.

        Raises:
            ProxConnectError: they are not as the attributes are described.
        """
        n = threshold.shape[0]
        address_of_shape(threshold, "threshold", torch.int32, (n,))
        address_of_shape(flip, "flip", torch.uint8, (1, packed_width(n)))
        return cls(threshold, flip)

    def arguments(self, weight: Panels | ConvPanels) -> tuple[int, int]:
        """Return the addresses of threshold and flip.

        Raises:
            ProxConnectError: the outputs are not those of ``weight``.
        """
        if self.n != weight.n:
            raise _other_outputs("thresholds", self.n, weight)
        return pointer(self.threshold), pointer(self.flip)

    def __repr__(self) -> str:
        return f"Thresholds(n={self.n})"


def _constant(values: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a float32 copy."""
    if not values.is_floating_point():
        raise ProxConnectError(f"{name} is {values.dtype}; expected floating point")
    constant = values.detach().to(torch.float32, copy=True).contiguous()
    address_of_shape(constant, name, torch.float32, tuple(shape))
    return constant


def _dimensions(group: int | None) -> int:
    """Return the dimensions of scales for groups of so many inputs."""
    if group is None:
        return 1
    if group <= 0 or group % WORD_BITS:
        raise ProxConnectError(f"group is {group}; expected a positive multiple of {WORD_BITS}")
    return 2


def _other_scale(scale: Tensor, group: int | None, shape: str) -> ProxConnectError:
    wanted = "(n,)" if group is None else f"{shape}, with groups of {group}"
    return ProxConnectError(f"scale has shape {tuple(scale.shape)}; expected {wanted}")


def _other_outputs(name: str, n: int, weight: Panels | ConvPanels) -> ProxConnectError:
    return ProxConnectError(f"{name} has {n} outputs; expected {weight.n}, those of the weight")
