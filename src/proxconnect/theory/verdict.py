"""What a check of a pair found, as data and as a report."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from proxconnect.theory._decomposition import Prox, Transform

Status = Literal["exact", "not exact", "undetermined"]
Outcome = Literal["holds", "fails", "unknown"]

STATEMENTS = (
    "F does not decrease",
    "B is nonnegative, F does not grow where B = 0, and dF/B can be integrated",
    "B is constant on every flat of F, up to the ends where F is continuous",
    "B as a function of P has one-sided limits and isolated jumps, and follows F's side at F's jumps",
)


@dataclass(frozen=True)
class Interval:
    """An interval of latents; ``low_closed`` and ``high_closed`` tell which ends belong to it.

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
            return f"{{{_number(self.low)}}}"
        left, right = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        return f"{left}{_number(self.low)}, {_number(self.high)}{right}"


@dataclass(frozen=True)
class Witness:
    """Latents that refute a condition, with what ``F`` and ``B`` are there."""

    latents: tuple[float, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]

    def __str__(self) -> str:
        rows = zip(self.latents, self.forward, self.backward, strict=True)
        return "; ".join(f"w = {_number(w)}: F = {_number(f)}, B = {_number(b)}" for w, f, b in rows)


@dataclass(frozen=True)
class Condition:
    """One of the four conditions: whether it holds, and if not, where, why and on what witness.

    ``where`` is the first place, seen from 0, at which the condition fails or cannot be decided.
    """

    number: int
    outcome: Outcome
    where: Interval | None = None
    reason: str = ""
    witness: Witness | None = None

    @property
    def statement(self) -> str:
        """The condition in words."""
        return STATEMENTS[self.number - 1]

    @property
    def holds(self) -> bool:
        """Whether the condition is known to hold."""
        return self.outcome == "holds"

    def __str__(self) -> str:
        head = f"{self.number}. {self.outcome}: {self.statement}"
        if self.holds:
            return head
        place = "" if self.where is None else f", on {self.where}"
        if self.where is not None and self.where.low == self.where.high:
            place = f", at w = {_number(self.where.low)}"
        lines = [head, f"   {self.reason}{place}"]
        return "\n".join(lines + ([f"   {self.witness}"] if self.witness else []))


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Args:
        kind: ``"declared"`` where both quantizers declare their structure, else ``"numeric"``.
        samples: how many latents were evaluated; 0 for declared structure.
        reach: how far from 0 it was sampled; infinite for declared structure.
        resolution: the width of the narrowest feature that is surely seen, as a share of ``max(|w|, 1/mu)``,
            out to ``10/mu``; four times that out to ``1000/mu``, and 0.05 beyond. 0 for declared structure.
        looked_at: the part of the domain that the verdict speaks of; None stands for all of it.
        beyond: why it ends there, where it is not the whole domain.
    """

    kind: Literal["declared", "numeric"]
    samples: int = 0
    reach: float = math.inf
    resolution: float = 0.0
    looked_at: Interval | None = None
    beyond: str = ""

    def __str__(self) -> str:
        if self.kind == "declared":
            return "declared structure"
        lines = [
            f"numeric, {self.samples} samples up to |w| = {self.reach:.6g}",
            f"   sees what is wider than {self.resolution:.1e} max(|w|, 1/mu) up to |w| = 10/mu, than "
            f"{4 * self.resolution:.1e} |w| up to 1000/mu, than 0.05 |w| beyond",
        ]
        if self.beyond:
            lines.append(f"   not known outside {self.looked_at}: {self.beyond}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Verdict:
    """Whether a pair ``(F, B)`` is a reparametrised proximal map with its derivative, and why not.

    Args:
        name: the pair's name.
        mu: the sharpness it was checked at.
        domain: the interval it was checked on.
        status: ``"exact"``: ``F = T o P`` and ``B = T' o P`` with ``P`` and ``T`` nondecreasing;
            ``"not exact"``; or ``"undetermined"``, with the reason in ``conditions``.
        conditions: the four conditions of the criterion.
        exact_interval: the largest interval with 0 in its interior on which the pair is known to be exact. A
            numeric verdict ends it where it could look no farther: ``evidence.looked_at``. Where 0 is an end
            of every such interval, the one there is; ``{0}`` if there are two that cannot be joined; None
            where it is unknown, or where the pair is exact not even at 0.
        decomposes: whether some ``T`` exists that need not be monotone; None where it is unknown.
        kinks: the latents at which ``T`` has a kink, within ``exact_interval``.
        evidence: declared structure, or samples: a numeric verdict is about what they could see.
        nowhere: why ``exact_interval`` is None, where that is known.
        P: the proximal map on ``exact_interval`` as a callable on tensors; None without that interval.
        T: the reparametrisation; ``T(P(w)) = F(w)`` and ``T.slope(P(w)) = B(w)``; differentiable by autograd.

    >>> import proxconnect as pc
    >>> verdict = pc.check(pc.method("bnn+"))
    >>> verdict.exact, str(verdict.exact_interval)
    (False, '{0}')
    >>> [condition.outcome for condition in verdict.conditions]
    ['holds', 'fails', 'fails', 'holds']
    """

    name: str
    mu: float
    domain: Interval
    status: Status
    conditions: tuple[Condition, ...]
    exact_interval: Interval | None
    decomposes: bool | None
    kinks: tuple[float, ...]
    evidence: Evidence
    nowhere: str = ""
    P: Prox | None = field(default=None, repr=False, compare=False)
    T: Transform | None = field(default=None, repr=False, compare=False)

    @property
    def exact(self) -> bool:
        """Whether the status is ``"exact"``."""
        return self.status == "exact"

    @property
    def c1(self) -> bool:
        """Whether the pair is exact and ``T`` has no kinks."""
        return self.exact and not self.kinks

    def to_dict(self) -> dict[str, Any]:
        """The verdict without its callables, for JSON; infinite numbers become strings."""
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
            "conditions": conditions,
            "evidence": _plain(self.evidence),
        }

    def __str__(self) -> str:
        decomposes = {True: "yes", False: "no", None: "unknown"}[self.decomposes]
        kinks = ", ".join(map(_number, self.kinks[:8])) + (", ..." if len(self.kinks) > 8 else "")
        status = "C1-exact" if self.c1 else "exact, with kinks" if self.exact else self.status
        reach = ""
        if self.exact and self.evidence.kind == "numeric":
            reach = f", as far as samples show on {self.exact_interval}"
        nothing = f"nothing: {self.nowhere}" if self.nowhere else "nothing that is known"
        return "\n".join(
            [
                f"{self.name} at mu = {_number(self.mu)} on {self.domain}: {status}{reach}",
                f"exact around 0 on: {self.exact_interval or nothing}",
                f"kinks there: {kinks or 'none'}",
                f"decomposes, T monotone or not: {decomposes}",
                *map(str, self.conditions),
                f"evidence: {self.evidence}",
            ]
        )


def _number(value: float) -> str:
    return f"{value:.6g}"


def _plain(record: Interval | Evidence | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        key: _plain(value) if isinstance(value, Interval) else _finite(value)
        for key, value in vars(record).items()
    }


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
