"""Find the structure of a pair: from its declarations where both quantizers have some, else by sampling."""

from __future__ import annotations

from proxconnect.quantizers import ForwardBackward
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure._declared import declared_structure
from proxconnect.theory.structure._sampled import sampled_structure
from proxconnect.theory.structure.structure import Structure


def structure_of(
    pair: ForwardBackward, mu: float, domain: Interval, roles: tuple[str, str] = ("forward", "backward")
) -> Structure:
    """Find the structure of a pair on a domain; ``roles`` are the names of both quantizers in messages."""
    return declared_structure(pair, mu, domain) or sampled_structure(pair, mu, domain, roles)
