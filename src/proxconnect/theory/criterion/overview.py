"""List the catalogue with the verdict on every pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from proxconnect.quantizers import CATALOGUE, ForwardBackward, identity, method, slope_of
from proxconnect.theory.criterion.check import check
from proxconnect.theory.criterion.verdict import Verdict


@dataclass(frozen=True)
class MethodRow:
    """One method in a table; the verdict holds at ``mu = 1``."""

    name: str
    forward: str
    backward: str
    verdict: str
    source: str

    def to_dict(self) -> dict[str, str]:
        """Convert to plain values."""
        return asdict(self)


def overview() -> list[MethodRow]:
    """Make a row for every method of the catalogue.

    >>> [row.verdict for row in overview() if row.name in ("bc", "bnn+", "bnn++", "hardtanh")]
    ['C1-exact', 'exact, with kinks', 'exact on {0} only', 'exact on [-2.39936, 2.39936]']
    """
    rows = []
    for name, entry in CATALOGUE.items():
        pair = method(name)
        forward = str(getattr(pair.forward, "name", "own"))
        rows.append(MethodRow(name, forward, backward_in_words(pair), in_words(check(pair)), entry.source))
    return rows


def backward_in_words(pair: ForwardBackward) -> str:
    """Return the name of the backward quantizer, or 1 for the slope of the identity."""
    return "1" if pair.backward == slope_of(identity) else str(getattr(pair.backward, "name", "own"))


def in_words(verdict: Verdict) -> str:
    """Shorten the verdict to a few words."""
    if verdict.exact:
        return "C1-exact" if verdict.c1 else "exact, with kinks"
    if verdict.exact_interval is None:
        return verdict.status
    only = " only" if verdict.exact_interval.low == verdict.exact_interval.high else ""
    return f"exact on {verdict.exact_interval}{only}"
