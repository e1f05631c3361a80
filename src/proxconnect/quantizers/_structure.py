"""Declarations of a map about its shape: theorems about a map that has them need no sampling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Trend = Literal["flat", "rising", "falling"]


@dataclass(frozen=True)
class Piece:
    """An open interval on which a map is smooth and monotone, with its one-sided limits.

    Consecutive pieces share their ends. A map jumps where the limits of neighbouring pieces differ, and has a
    kink where only their slopes differ.

    Args:
        start: left end; ``-inf`` for the first piece.
        end: right end; ``inf`` for the last piece.
        trend: ``"flat"``, ``"rising"`` (strictly) or ``"falling"`` (strictly).
        start_value: limit of the map at ``start``.
        end_value: limit of the map at ``end``.
        linear: True if the slope is constant inside; flat pieces are linear.
        start_slope: limit of the slope at ``start``; NaN where it is not declared.
        end_slope: limit of the slope at ``end``; NaN where it is not declared.
    """

    start: float
    end: float
    trend: Trend
    start_value: float
    end_value: float
    linear: bool = False
    start_slope: float = math.nan
    end_slope: float = math.nan


@dataclass(frozen=True)
class SignPiece:
    """An open interval on which a backward quantizer keeps one sign.

    Args:
        start: left end; ``-inf`` for the first piece.
        end: right end; ``inf`` for the last piece.
        sign: -1, 0 or 1.
        constant: the value, if it is the same in the whole interval; otherwise None.
        start_value: limit at ``start``.
        end_value: limit at ``end``.
    """

    start: float
    end: float
    sign: Literal[-1, 0, 1]
    constant: float | None
    start_value: float
    end_value: float


def hull(pieces: Iterable[Piece]) -> tuple[float, float]:
    """Return the ends of the range of a map that has these pieces.

    >>> hull([Piece(-math.inf, 0.0, "flat", -1.0, -1.0), Piece(0.0, math.inf, "rising", 2.0, math.inf)])
    (-1.0, inf)
    """
    ends = [end for piece in pieces for end in (piece.start_value, piece.end_value)]
    return min(ends), max(ends)


def sign_piece(piece: Piece) -> SignPiece:
    """Describe the slope of a map on one of its pieces."""
    sign: dict[Trend, Literal[-1, 0, 1]] = {"falling": -1, "flat": 0, "rising": 1}
    constant = piece.start_slope if piece.linear else None
    return SignPiece(piece.start, piece.end, sign[piece.trend], constant, piece.start_slope, piece.end_slope)
