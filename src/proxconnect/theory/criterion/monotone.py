"""The one test of a fall: the first condition of the criterion, for a map alone."""

from __future__ import annotations

import math

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, identity, slope_of
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory.criterion._conditions import Criterion
from proxconnect.theory.criterion.verdict import Condition
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.find import structure_of
from proxconnect.theory.structure.structure import Structure

_LINE = Interval(-math.inf, math.inf, False, False)


def falls(function: Elementwise, mu: float = 1.0) -> bool:
    """Return True if a map is known to fall somewhere."""
    _, first = _first_condition(function, "forward", mu, _LINE)
    return first.outcome == "fails"


def refuse_a_fall(
    function: Elementwise, name: str, mu: float, because: str, domain: Interval = _LINE
) -> Structure:
    """Return the structure of a map that does not fall, paired with ``B = 1``.

    Raises:
        ProxConnectError: the map falls, changes between calls, is not finite or is not elementwise. The
            message names two latents that show a fall.
    """
    structure, first = _first_condition(function, name, mu, domain)
    if not structure.stretches:
        raise ProxConnectError(structure.unknowns[0].reason)
    if first.outcome == "fails" and first.witness is not None and first.where is not None:
        where = f"at {first.where.low:.6g}" if first.where.low == first.where.high else f"on {first.where}"
        steps = " to ".join(
            f"{f:.6g} at {w:.6g}" for w, f in zip(first.witness.latents, first.witness.forward, strict=True)
        )
        raise ProxConnectError(f"{name} must be nondecreasing, but it falls {where}, from {steps}; {because}")
    return structure


def _first_condition(
    function: Elementwise, name: str, mu: float, domain: Interval
) -> tuple[Structure, Condition]:
    structure = structure_of(ForwardBackward(function, slope_of(identity)), mu, domain, (name, "backward"))
    return structure, Criterion(structure).conditions()[0]
