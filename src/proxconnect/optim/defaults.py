"""Defaults of training: the schedule that suits a method, and the method that suits a step rule."""

from __future__ import annotations

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.optim._closing import schedule_of_pair
from proxconnect.optim.rules import RULES
from proxconnect.optim.schedule import Schedule
from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers.catalogue import METHOD_OF_RULE, unknown_method

# A forward quantizer that is not a sign must have closed onto the sign at the end of training. bnn++ closes
# last: at mu = 300 it has closed for all latents but those within 3 % of 0, in units of their scale. reste+
# never closes within m of 0, and at the end of the schedule "reste" it has closed nowhere. The other methods
# keep the sharpness of their papers. Closing late lets weights flip for longer: recipes/defaults_*.toml
# compare it with an even pace.
_SCHEDULES = {
    "bc": Schedule("constant", 1),
    "pc": Schedule("late", 1, 300),
    "binary-relax": Schedule("late", 1, 300),
    "parq": Schedule("parq", 1, 300),
    "bnn": Schedule("constant", 1),
    "hardtanh": Schedule("late", 1, 300),
    "bnn+": Schedule("late", 1, 300),
    "bnn++": Schedule("late", 1, 300),
    "bnn++m": Schedule("late", 1, 300),
    "poly": Schedule("constant", 1),
    "poly+": Schedule("late", 1, 300),
    "ede": Schedule("ede", 0.1, 10),
    "ede+": Schedule("ede", 0.1, 300),
    "reste": Schedule("reste", 1, 3),
    "reste+": Schedule("late", 1, 300),
}
# The mu of the rule pq is its lambda, a strength. With Adam and latent_lr_relative, lambda = 1 lets the prox
# move a latent as far as a step does.
_PROXQUANT = Schedule("linear", 0, 10)


TRAINABLE = tuple(_SCHEDULES)
"""The names of the methods that can be trained: those of the catalogue but ``fp``."""


def default_schedule(method: str | ForwardBackward, rule: str = "pc") -> Schedule:
    """Return the schedule of ``mu`` that suits a method under a step rule.

    The schedule of a pair of one's own starts where its F is as far from the sign as that of ``bnn++`` at
    mu = 1, and ends where it is as close as that of ``bnn++`` at mu = 300: the mean of ``||F_mu(w)| - 1|``
    over standard normal ``w``. If F is the sign, mu goes from 1 to 10, or stays at 1 where B does not depend
    on it. A pair with the name of a catalogue pair gets the schedule of that name.

    Args:
        method: a name of :func:`proxconnect.methods` other than ``fp``, or a pair.
        rule: ``"pc"``, ``"rpc"``, ``"pq"`` or ``"fp"``.

    Raises:
        ProxConnectError: the method or the rule is unknown; the message names near matches. Or F does not
            approach -1 and 1 as mu grows.

    >>> import torch, proxconnect as pc
    >>> default_schedule("bnn++")
    Schedule(kind='late', start=1, end=300)
    >>> default_schedule("bc", rule="pq")
    Schedule(kind='linear', start=0, end=10)
    >>> default_schedule(pc.ForwardBackward(lambda w, mu: torch.tanh(3 * mu * w), name="soft sign"))
    Schedule(kind='late', start=0.34, end=60.0)
    """
    name = method.name if isinstance(method, ForwardBackward) else method
    if rule not in RULES:
        raise ProxConnectError(unknown_name("rule", rule, RULES))
    if rule == "pq":
        return _PROXQUANT
    if name in _SCHEDULES:
        return _SCHEDULES[name]
    if isinstance(method, ForwardBackward):
        return schedule_of_pair(method)
    raise ProxConnectError(unknown_method(method, _SCHEDULES))


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
