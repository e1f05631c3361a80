"""The catalogue: every method by name, each a pair of maps."""

from __future__ import annotations

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers.maps import Elementwise, hard_tanh, identity, sign, sign_swish
from proxconnect.quantizers.pair import ForwardBackward


def _pairs(**members: tuple[Elementwise, Elementwise]) -> dict[str, ForwardBackward]:
    return {name: ForwardBackward(forward, backward, name) for name, (forward, backward) in members.items()}


CATALOGUE = _pairs(
    **{
        "fp": (identity, identity.slope),
        "bc": (sign, identity.slope),
        "bnn": (sign, hard_tanh.slope),
        "bnn+": (sign, sign_swish.slope),
        "bnn++": (sign_swish, sign_swish.slope),
    }
)


def methods() -> list[str]:
    """Names of the methods in the catalogue.

    >>> methods()
    ['fp', 'bc', 'bnn', 'bnn+', 'bnn++']
    """
    return list(CATALOGUE)


def method(name: str, **parameters: object) -> ForwardBackward:
    """The pair that the catalogue knows as ``name``.

    Args:
        name: one of :func:`methods`.
        parameters: the method's own parameters; none of the present methods has any.

    Raises:
        ProxConnectError: ``name`` is unknown (the message names near matches), or a parameter is.

    >>> method("bnn++").forward.name
    'sign-swish'
    """
    if name not in CATALOGUE:
        raise ProxConnectError(unknown_name("method", name, CATALOGUE))
    if parameters:
        raise ProxConnectError(f"method {name!r} takes no parameters, but got {', '.join(parameters)}")
    return CATALOGUE[name]
