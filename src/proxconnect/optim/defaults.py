"""Defaults of training: the schedule that suits a method, and the method that suits a step rule."""

from __future__ import annotations

from typing import NamedTuple

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.optim.rules import RULES
from proxconnect.quantizers.catalogue import METHOD_OF_RULE, unknown_method


class Schedule(NamedTuple):
    """The kind, start and end of a :class:`MuSchedule`; the end of a constant schedule is None."""

    kind: str
    start: float
    end: float | None = None


# A forward quantizer that is not a sign must have closed onto the sign at the end of training. bnn++ closes
# last: at mu = 300 it has closed for all latents but those within 3 % of 0, in units of their scale. reste+
# never closes within m of 0, and at the end of the schedule "reste" it has closed nowhere. The other methods
# keep the sharpness of their papers.
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
}
# The mu of the rule pq is its lambda, a strength. With Adam and latent_lr_relative, lambda = 1 lets the prox
# move a latent as far as a step does.
_PROXQUANT = Schedule("linear", 0, 10)


TRAINABLE = tuple(_SCHEDULES)
"""The names of the methods that can be trained: those of the catalogue but ``fp``."""


def default_schedule(method: str, rule: str = "pc") -> Schedule:
    """Return the schedule of ``mu`` that suits a method under a step rule.

    Args:
        method: a name of :func:`proxconnect.methods` other than ``fp``.
        rule: ``"pc"``, ``"rpc"``, ``"pq"`` or ``"fp"``.

    Raises:
        ProxConnectError: the method or the rule is unknown; the message names near matches.

    >>> default_schedule("bnn++")
    Schedule(kind='exponential', start=1, end=300)
    >>> default_schedule("bc", rule="pq")
    Schedule(kind='linear', start=0, end=10)
    """
    if method not in _SCHEDULES:
        raise ProxConnectError(unknown_method(method, _SCHEDULES))
    if rule not in RULES:
        raise ProxConnectError(unknown_name("rule", rule, RULES))
    return _PROXQUANT if rule == "pq" else _SCHEDULES[method]


def default_method(rule: str) -> str:
    """Return the method that a step rule trains unless another is chosen.

    ``pq`` (ProxQuant) and ``rpc`` (reverse ProxConnect) train the method of their papers, the other rules
    train ``bnn++``.

    Raises:
        ProxConnectError: the rule is unknown; the message names near matches.

    >>> default_method("pq"), default_method("rpc"), default_method("pc")
    ('bc', 'pc', 'bnn++')
    """
    if rule not in RULES:
        raise ProxConnectError(unknown_name("rule", rule, RULES))
    return METHOD_OF_RULE.get(rule, "bnn++")
