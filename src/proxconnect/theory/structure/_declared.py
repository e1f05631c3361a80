"""Read the structure of a pair whose quantizers declare it: without samples, ends to machine precision."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers._structure import Piece, SignPiece
from proxconnect.theory._arrays import Function
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.structure.evidence import Evidence
from proxconnect.theory.structure.structure import Point, Stretch, Structure

# Declared limits and computed values agree to rounding, not to the last bit.
_ROUNDING = 1e-10


def declared_structure(pair: ForwardBackward, mu: float, domain: Interval) -> Structure | None:
    """Join the declared structure of both quantizers on ``domain``; None unless both declare it."""
    declared_forward: Any = getattr(pair.forward, "pieces", None)
    declared_backward: Any = getattr(pair.backward, "signs", None)
    if declared_forward is None or declared_backward is None:
        return None
    pieces: tuple[Piece, ...] = declared_forward(mu)
    signs: tuple[SignPiece, ...] = declared_backward(mu)
    forward, backward = Probe(pair.forward, "forward", mu), Probe(pair.backward, "backward", mu)
    identity = getattr(pair.backward, "map", None) is pair.forward
    inner = {piece.end for piece in pieces} | {piece.end for piece in signs}
    ends = [domain.low, *sorted(end for end in inner if domain.low < end < domain.high), domain.high]
    stretches = tuple(
        _stretch(
            start,
            end,
            _covering(pieces, start, end),
            _covering(signs, start, end),
            forward,
            backward,
            identity,
        )
        for start, end in itertools.pairwise(ends)
    )
    finite = [v for s in stretches for v in (*s.forward, *s.backward) if math.isfinite(v)]
    noise = _ROUNDING * max(map(abs, finite), default=1.0)
    forward_noise = noise + _moved_by_rounded_ends(stretches)
    return Structure(
        domain,
        stretches,
        tuple(_point(end, forward, backward) for end in ends),
        forward,
        backward,
        forward_noise,
        noise,
        _ROUNDING,
        Evidence("declared"),
    )


def _moved_by_rounded_ends(stretches: tuple[Stretch, ...]) -> float:
    """Bound how far rounded ends of stretches move ``F``, which is far where ``F`` is steep."""
    bounded = [s for s in stretches if math.isfinite(s.end - s.start) and np.isfinite(s.forward).all()]
    steepest = max((abs(s.forward[1] - s.forward[0]) / (s.end - s.start) for s in bounded), default=0.0)
    farthest = max((max(abs(s.start), abs(s.end)) for s in bounded), default=0.0)
    # An end is a difference of levels and widths. It has a few roundings of numbers as large as the levels.
    return 4 * float(np.finfo(np.float64).eps) * steepest * max(1.0, farthest)


def _covering(parts: tuple[Any, ...], start: float, end: float) -> Any:
    return next(part for part in parts if part.start <= start and end <= part.end)


def _stretch(
    start: float,
    end: float,
    piece: Piece,
    sign: SignPiece,
    forward: Function,
    backward: Function,
    identity: bool,
) -> Stretch:
    f = (
        piece.start_value if start == piece.start else _at(forward, start),
        piece.end_value if end == piece.end else _at(forward, end),
    )
    b = (
        sign.start_value if start == sign.start else _at(backward, start),
        sign.end_value if end == sign.end else _at(backward, end),
    )
    constant = sign.constant
    if constant is not None:
        b = (constant, constant)
    return Stretch(start, end, piece.trend, f, sign.sign, b, constant, identity)


def _at(function: Function, w: float) -> float:
    return float(function(np.array([w]))[0]) if math.isfinite(w) else math.nan


def _point(w: float, forward: Function, backward: Function) -> Point | None:
    return Point(w, _at(forward, w), _at(backward, w)) if math.isfinite(w) else None
