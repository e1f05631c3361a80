"""The verdict on a pair, as data and as a report."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from proxconnect.quantizers import ForwardBackward
from proxconnect.theory.criterion.ends import Ends
from proxconnect.theory.interval import Interval, in_digits
from proxconnect.theory.structure.evidence import Evidence

if TYPE_CHECKING:
    from proxconnect.theory.criterion._decomposition import Prox, Transform

Status = Literal["exact", "not exact", "undetermined"]
Outcome = Literal["holds", "fails", "unknown"]

STATEMENTS = (
    "F does not decrease",
    "B is nonnegative, F does not grow where B = 0, and dF/B can be integrated",
    "B is constant on every flat of F, up to the ends where F is continuous",
    "B as a function of P has one-sided limits and isolated jumps, and follows F's side at F's jumps",
)


@dataclass(frozen=True)
class Witness:
    """Latents that refute a condition, with the values of ``F`` and ``B`` there."""

    latents: tuple[float, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]

    def __str__(self) -> str:
        rows = zip(self.latents, self.forward, self.backward, strict=True)
        return "; ".join(f"w = {in_digits(w)}: F = {in_digits(f)}, B = {in_digits(b)}" for w, f, b in rows)


@dataclass(frozen=True)
class Condition:
    """The outcome of one of the four conditions.

    Args:
        number: 1 to 4.
        outcome: ``"holds"``, ``"fails"`` or ``"unknown"``.
        where: the place nearest to 0 at which the condition fails or cannot be decided; None where it holds.
        reason: the failure in words.
        witness: latents that refute the condition; None unless it fails.
    """

    number: int
    outcome: Outcome
    where: Interval | None = None
    reason: str = ""
    witness: Witness | None = None

    @property
    def statement(self) -> str:
        """Statement of the condition in words."""
        return STATEMENTS[self.number - 1]

    @property
    def holds(self) -> bool:
        """True if the condition is known to hold."""
        return self.outcome == "holds"

    def __str__(self) -> str:
        head = f"{self.number}. {self.outcome}: {self.statement}"
        if self.holds:
            return head
        place = "" if self.where is None else f", on {self.where}"
        if self.where is not None and self.where.low == self.where.high:
            place = f", at w = {in_digits(self.where.low)}"
        lines = [head, f"   {self.reason}{place}"]
        return "\n".join(lines + ([f"   {self.witness}"] if self.witness else []))


@dataclass(frozen=True)
class Verdict:
    """The verdict on a pair ``(F, B)``: is it a reparametrised proximal map with its derivative?

    Args:
        pair: the pair that was checked.
        mu: the sharpness it was checked at.
        domain: the interval it was checked on.
        status: ``"exact"``: ``F = T o P`` and ``B = T' o P`` with ``P`` and ``T`` nondecreasing;
            ``"not exact"``; or ``"undetermined"``, with the reason in ``conditions``.
        conditions: the four conditions of the criterion.
        exact_interval: the largest interval with 0 in its interior on which the pair is known to be exact. If
            0 is an end of every exact interval, it is the one on that side, or ``{0}`` for one on either
            side that cannot be joined. It is None if the pair is not exact at 0 itself, or if nothing is
            known. A numeric verdict ends it at the end of ``evidence.looked_at``.
        decomposes: True if some ``T`` exists, monotone or not; None if that is unknown.
        kinks: the latents in ``exact_interval`` at which ``T`` has a kink.
        evidence: declared structure, or samples. A numeric verdict covers what the samples could resolve.
        ends: the limits of F at both ends of the domain, at ``mu`` and as ``mu`` grows. Weights harden to
            levels without loss only if F ends at these levels.
        nowhere: the reason why ``exact_interval`` is None, if it is known.
        P: the proximal map on ``exact_interval``, a callable on tensors; None without that interval.
        T: the reparametrisation, with ``T(P(w)) = F(w)`` and ``T.slope(P(w)) = B(w)``, differentiable by
            autograd; None without that interval.

    >>> import proxconnect as pc
    >>> verdict = pc.check(pc.method("bnn+"))
    >>> verdict.exact, str(verdict.exact_interval)
    (False, '{0}')
    >>> [condition.outcome for condition in verdict.conditions]
    ['holds', 'fails', 'fails', 'holds']
    """

    pair: ForwardBackward
    mu: float
    domain: Interval
    status: Status
    conditions: tuple[Condition, ...]
    exact_interval: Interval | None
    decomposes: bool | None
    kinks: tuple[float, ...]
    evidence: Evidence
    ends: Ends
    nowhere: str = ""
    P: Prox | None = field(default=None, repr=False, compare=False)
    T: Transform | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The pair's name."""
        return self.pair.name

    @property
    def exact(self) -> bool:
        """True if the status is ``"exact"``."""
        return self.status == "exact"

    @property
    def c1(self) -> bool:
        """True if the pair is exact and ``T`` has no kinks."""
        return self.exact and not self.kinks

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw F, B, P, T and r of the pair to an image file, at ``mu/3``, ``mu`` and ``3 mu``.

        Args:
            path: the file to write; its ending chooses the format.

        Returns:
            ``path``.

        Raises:
            ProxConnectError: the format is unknown, the file cannot be written, or matplotlib is missing.
        """
        from proxconnect.theory.figures.plots import draw_pair  # which checks the pair itself

        draw_pair(self.pair, Path(path), mus=(self.mu / 3, self.mu, 3 * self.mu))
        return Path(path)

    def _undetermined(self) -> str:
        """Say on which parts of the domain samples cannot decide."""
        known = self.exact_interval
        if known is None or known == self.domain:
            return ""
        if known.low == -known.high:
            return f"; undetermined beyond |w| = {in_digits(known.high)}"
        ends = zip((known.low, known.high), (self.domain.low, self.domain.high), strict=True)
        beyond = " and ".join(f"w = {in_digits(end)}" for end, last in ends if end != last)
        return f"; undetermined beyond {beyond}"

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON, without the callables; infinite numbers become strings."""
        conditions = [
            {"statement": condition.statement, **asdict(condition), "where": _plain(condition.where)}
            for condition in self.conditions
        ]
        return {
            "name": self.name,
            "mu": self.mu,
            "domain": _plain(self.domain),
            "status": self.status,
            "exact": self.exact,
            "c1": self.c1,
            "decomposes": self.decomposes,
            "exact_interval": _plain(self.exact_interval),
            "kinks": list(self.kinks),
            "ends": [_finite(self.ends.low), _finite(self.ends.high)],
            "ends_as_mu_grows": [_finite(end) for end in self.ends.as_mu_grows],
            "conditions": conditions,
            "evidence": _plain(self.evidence),
        }

    def __str__(self) -> str:
        decomposes = {True: "yes", False: "no", None: "unknown"}[self.decomposes]
        kinks = ", ".join(map(in_digits, self.kinks[:8])) + (", ..." if len(self.kinks) > 8 else "")
        status = "C1-exact" if self.c1 else "exact, with kinks" if self.exact else self.status
        reach = ""
        if self.exact and self.evidence.kind == "numeric":
            reach = f", as far as samples show on {self.exact_interval}{self._undetermined()}"
        nothing = f"nothing: {self.nowhere}" if self.nowhere else "nothing that is known"
        return "\n".join(
            [
                f"{self.name} at mu = {in_digits(self.mu)} on {self.domain}: {status}{reach}",
                f"exact around 0 on: {self.exact_interval or nothing}",
                f"kinks there: {kinks or 'none'}",
                f"decomposes, T monotone or not: {decomposes}",
                f"F ends at: {self.ends}",
                *map(str, self.conditions),
                f"evidence: {self.evidence}",
            ]
        )


def _plain(record: Interval | Evidence | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        key: _plain(value) if isinstance(value, Interval) else _finite(value)
        for key, value in vars(record).items()
    }


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
