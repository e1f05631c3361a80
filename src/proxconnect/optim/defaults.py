"""How each method is trained where its name is all that is said."""

from __future__ import annotations

from typing import NamedTuple

from proxconnect.errors import ProxConnectError, unknown_name


class Schedule(NamedTuple):
    """Kind, start and end of a :class:`MuSchedule`; the end of a constant one is None."""

    kind: str
    start: float
    end: float | None = None


# A forward quantizer that is not a sign must have closed onto it by the end: at 300 bnn++, the last to close,
# has but for latents within 3 % of 0 in units of their scale. reste+ never closes within m of 0, and at the
# end of reste has not closed anywhere. The others keep the sharpness of their papers.
# The lambda of pq suits Adam with latent_lr_relative: at 1 its prox moves as far as a step.
_SCHEDULES = {
    "bc": Schedule("constant", 1),
    "pc": Schedule("exponential", 1, 300),
    "binary-relax": Schedule("exponential", 1, 300),
    "parq": Schedule("parq", 1, 300),
    "bnn": Schedule("constant", 1),
    "hardtanh": Schedule("exponential", 1, 300),
    "bnn+": Schedule("exponential", 1, 300),
    "bnn++": Schedule("exponential", 1, 300),
    "bnn++m": Schedule("exponential", 1, 300),
    "poly": Schedule("constant", 1),
    "poly+": Schedule("exponential", 1, 300),
    "ede": Schedule("ede", 0.1, 10),
    "ede+": Schedule("ede", 0.1, 300),
    "reste": Schedule("reste", 1, 3),
    "reste+": Schedule("exponential", 1, 300),
    "rpc": Schedule("exponential", 1, 300),
    "pq": Schedule("linear", 0, 10),
}
_NAMED_RULES = {"rpc": ("rpc", "pc"), "pq": ("pq", "bc")}


TRAINABLE = tuple(_SCHEDULES)
"""Names that can be trained: the methods of the catalogue but ``fp``, and the rules ``rpc`` and ``pq``."""


def default_schedule(name: str) -> Schedule:
    """The schedule of ``mu`` that suits a method of the catalogue, or ``pq`` or ``rpc``.

    Raises:
        ProxConnectError: the name is unknown; the message names near matches.

    >>> default_schedule("bnn++")
    Schedule(kind='exponential', start=1, end=300)
    """
    if name not in _SCHEDULES:
        raise ProxConnectError(unknown_name("method", name, _SCHEDULES))
    return _SCHEDULES[name]


def rule_and_method(name: str) -> tuple[str, str]:
    """The step rule and the method of the catalogue that a name stands for.

    ``pq`` (ProxQuant) and ``rpc`` (reverse ProxConnect) are step rules, not methods: each goes with the
    method that its paper gives it. Every other name is a method, trained by the rule ``pc``.

    >>> rule_and_method("pq"), rule_and_method("rpc"), rule_and_method("bnn++")
    (('pq', 'bc'), ('rpc', 'pc'), ('pc', 'bnn++'))
    """
    return _NAMED_RULES.get(name, ("pc", name))
