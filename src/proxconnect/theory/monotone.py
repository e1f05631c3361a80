"""The one test of whether a map falls: the first condition of the check, for a map alone."""

from __future__ import annotations

import math

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, identity, slope_of
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory._criterion import Criterion
from proxconnect.theory._declared import declared_shape
from proxconnect.theory._numeric import sampled_shape
from proxconnect.theory._shape import Shape
from proxconnect.theory.verdict import Interval

LINE = Interval(-math.inf, math.inf, False, False)


def refuse_a_fall(
    function: Elementwise, name: str, mu: float, because: str, domain: Interval = LINE
) -> Shape:
    """The shape of a map beside ``B = 1``, if it does not fall.

    Raises:
        ProxConnectError: it falls (the message shows where, and two latents), changes between calls, is not
            finite or not elementwise.
    """
    pair = ForwardBackward(function, slope_of(identity), name)
    shape = declared_shape(pair, mu, domain) or sampled_shape(pair, mu, domain, (name, "backward"))
    if not shape.stretches:
        raise ProxConnectError(shape.unknowns[0].reason)
    first = Criterion(shape).conditions()[0]
    if first.outcome == "fails" and first.witness is not None and first.where is not None:
        where = f"at {first.where.low:.6g}" if first.where.low == first.where.high else f"on {first.where}"
        steps = " to ".join(
            f"{f:.6g} at {w:.6g}" for w, f in zip(first.witness.latents, first.witness.forward, strict=True)
        )
        raise ProxConnectError(f"{name} must be nondecreasing, but it falls {where}, from {steps}; {because}")
    return shape


def falls(function: Elementwise, mu: float = 1.0) -> bool:
    """Whether a map is known to fall somewhere."""
    pair = ForwardBackward(function, slope_of(identity))
    shape = declared_shape(pair, mu, LINE) or sampled_shape(pair, mu, LINE)
    return Criterion(shape).conditions()[0].outcome == "fails"
