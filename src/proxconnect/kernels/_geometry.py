"""Say how a convolution moves over an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from proxconnect.errors import ProxConnectError


@dataclass(frozen=True)
class Geometry:
    """The way in which a convolution moves over an image; pairs are (y, x).

    Attributes:
        stride: steps from one output to the next, at least 1 and below 2**31, as the others.
        padding: pixels added at each side, at least 0.
        dilation: steps from one tap to the next, at least 1.
        fill: what lies beyond the image: 0 adds nothing to a sum, as torch's zero padding of inputs of -1
            and +1 in training; or +1, or -1.

    Raises:
        ProxConnectError: a value is not as described.

    >>> Geometry(stride=(2, 2), padding=(1, 1)).output_size((8, 7), (3, 3))
    (4, 4)
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    fill: int = 0

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < least or max(pair) >= 2**31:
                raise ProxConnectError(
                    f"{name} is {pair!r}; expected a pair (y, x) of at least {least} and below 2**31"
                )
        if self.fill not in (0, 1, -1):
            raise ProxConnectError(f"fill is {self.fill!r}; expected 0, +1 or -1")

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the output.

        Each is ``(size + 2 padding - dilation (kernel - 1) - 1) // stride + 1``.

        Raises:
            ProxConnectError: the kernel is larger than the padded image.
        """
        (sy, sx), (py, px), (dy, dx) = self.stride, self.padding, self.dilation
        height = (size[0] + 2 * py - dy * (kernel[0] - 1) - 1) // sy + 1
        width = (size[1] + 2 * px - dx * (kernel[1] - 1) - 1) // sx + 1
        if height < 1 or width < 1:
            raise ProxConnectError(
                f"a kernel of {kernel} with dilation {self.dilation} does not fit into an image of {size} "
                f"with padding {self.padding}"
            )
        return height, width

    @cached_property
    def arguments(self) -> tuple[int, int, int, int, int, int, int]:
        """The numbers that compiled code takes for this geometry."""
        return *self.stride, *self.padding, *self.dilation, self.fill
