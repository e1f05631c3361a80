"""A weight as rows, one for each output channel, and scales that groups of inputs share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Rows:
    """The rows of a weight, one for each output channel, and the elements that share a scale.

    Args:
        shape: the shape of the weight.
        group: number of neighbouring inputs of a row that share a scale; the last group of a row may have
            fewer. None if a whole row, or the whole weight, shares a scale.
        transposed: groups ``g`` of a transposed convolution, whose weight has the shape
            ``[in, out / g, ...]``; 1 for a linear layer whose weight has the shape ``[in, out]``; None for
            every other weight, whose rows lie along dimension 0.

    >>> Rows((4, 3, 5, 5), transposed=2).row_shape
    (6, 2, 5, 5)
    """

    shape: tuple[int, ...]
    group: int | None = None
    transposed: int | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The weight's shape with its rows along dimension 0: ``(out, inputs of a row...)``."""
        if self.transposed is None:
            return self.shape
        inputs, outputs, *kernel = self.shape
        return outputs * self.transposed, inputs // self.transposed, *kernel

    @property
    def _group_size(self) -> int:
        """The inputs of the first group of a row: a group may be larger than a row."""
        return min(self.group or 1, max(1, math.prod(self.row_shape[1:])))

    @property
    def along_first(self) -> bool:
        """True if each index of dimension 0 is a row with one scale, or if all elements share one."""
        return self.group is None and self.transposed is None

    @property
    def scale_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that scales of this weight may have: see :meth:`spread`."""
        out, *inputs = self.row_shape
        if self.group is not None:
            return ((out, -(-math.prod(inputs) // self.group)),)
        ones = (1,) * len(inputs)
        return (out, *ones), (1, *ones)

    def turned(self, weight: Tensor) -> Tensor:
        """Move the rows of the weight to dimension 0, or back again: the two are one operation."""
        if self.transposed is None:
            return weight
        turned: Tensor = weight.unflatten(0, (self.transposed, -1)).transpose(1, 2).flatten(0, 1).contiguous()
        return turned

    def summed(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Sum ``values`` over the elements of each scale: the adjoint of :meth:`spread`.

        Args:
            values: a tensor of the weight's shape.
            shape: the shape of the scales, one of :attr:`scale_shapes`.
        """
        if self.group is None:
            return self.turned(values).sum_to_size(shape)
        return self.members(values, shape).sum(dim=2)

    def members(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Put the elements of each scale along the last dimension, followed by zeros if a group has fewer.

        Args:
            values: a tensor of the weight's shape.
            shape: the shape of the scales, one of :attr:`scale_shapes`.

        >>> from torch import arange
        >>> Rows((1, 3), group=2).members(arange(1, 4).view(1, 3), (1, 2)).tolist()
        [[[1, 2], [3, 0]]]
        """
        rows = self.turned(values)
        if self.group is None:
            return rows.reshape(shape[0], -1)
        size = self._group_size
        padded = functional.pad(rows.flatten(1), (0, -math.prod(rows.shape[1:]) % size))
        groups: Tensor = padded.unflatten(1, (-1, size))
        return groups

    def spread(self, scale: Tensor) -> Tensor:
        """Spread the scales over their elements, as a tensor that broadcasts against the weight.

        Args:
            scale: a tensor of one of :attr:`scale_shapes`.
        """
        out, *inputs = self.row_shape
        if self.group is not None:
            of_inputs = scale.repeat_interleave(self._group_size, dim=1)[:, : math.prod(inputs)]
            scale = of_inputs.reshape(out, *inputs)
        elif self.transposed is not None and len(scale) == out:
            scale = scale.expand(out, inputs[0], *scale.shape[2:])
        else:
            return scale
        return self.turned(scale)
