"""Intervals of latents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An interval of latents.

    Args:
        low: its left end.
        high: its right end.
        low_closed: True if the left end belongs to it.
        high_closed: True if the right end belongs to it.

    >>> str(Interval(-1.0, 1.0, True, False)), str(Interval(0.0, 0.0, True, True))
    ('[-1, 1)', '{0}')
    >>> 1.0 in Interval(-1.0, 1.0, True, False)
    False
    """

    low: float
    high: float
    low_closed: bool
    high_closed: bool

    def __contains__(self, w: float) -> bool:
        above = w > self.low or (w == self.low and self.low_closed)
        return above and (w < self.high or (w == self.high and self.high_closed))

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{{{in_digits(self.low)}}}"
        left, right = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        return f"{left}{in_digits(self.low)}, {in_digits(self.high)}{right}"


def in_digits(value: float) -> str:
    """Format a number with six digits."""
    return f"{value:.6g}"
