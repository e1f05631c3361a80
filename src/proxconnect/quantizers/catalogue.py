"""The catalogue: every method by name, each a pair of maps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers._levels import BIPOLAR
from proxconnect.quantizers.maps import Elementwise, hard_tanh, identity, sign, slope_of
from proxconnect.quantizers.pair import ForwardBackward
from proxconnect.quantizers.proximal import binary_relax, projector
from proxconnect.quantizers.ramps import linear_quantizer, parq
from proxconnect.quantizers.reste import reste
from proxconnect.quantizers.smooth import polynomial, tanh
from proxconnect.quantizers.swish import monotone_sign_swish, sign_swish

one = slope_of(identity)

# No reparametrisation explains a pair of the sign with the slope of another function. The repaired method
# beside such a pair is that function with its own slope.
PAIRS: dict[str, Callable[..., tuple[Elementwise, Elementwise]]] = {
    "fp": lambda: (identity, one),
    "bc": lambda levels=BIPOLAR: (projector(levels), one),
    "pc": lambda levels=BIPOLAR, rho=None, varrho=0.0: (linear_quantizer(levels, rho, varrho), one),
    "binary-relax": lambda levels=BIPOLAR: (binary_relax(levels), one),
    "parq": lambda levels=BIPOLAR: (parq(levels), one),
    "bnn": lambda: (sign, slope_of(hard_tanh)),
    "hardtanh": lambda: (hard_tanh, slope_of(hard_tanh)),
    "bnn+": lambda: (sign, slope_of(sign_swish)),
    "bnn++": lambda: (sign_swish, slope_of(sign_swish)),
    "bnn++m": lambda: (monotone_sign_swish, slope_of(monotone_sign_swish)),
    "poly": lambda: (sign, slope_of(polynomial)),
    "poly+": lambda: (polynomial, slope_of(polynomial)),
    "ede": lambda: (sign, slope_of(tanh)),
    "ede+": lambda: (tanh, slope_of(tanh)),
    "reste": lambda m=0.1, t=1.5: (sign, slope_of(reste(m, t))),
    "reste+": lambda m=0.1, t=1.5: (reste(m, t), slope_of(reste(m, t))),
}

PROXCONNECT_PLUS_PLUS = "ProxConnect++, arXiv 2402.17710"

NOTES = {
    "fp": ("full precision", "The reference that every binarized accuracy is compared with."),
    "bc": (
        "BinaryConnect, arXiv 1511.00363",
        "The plain baseline: nothing to tune, and weights are binary from the first step.",
    ),
    "pc": (
        "ProxConnect, arXiv 2110.13220",
        "When weights should approach their levels gradually, or when there are more than two levels.",
    ),
    "binary-relax": (
        "BinaryRelax, arXiv 1801.06313",
        "A gradual approach that leaves weights partly proportional to their latents; mu must grow large.",
    ),
    "parq": (
        "PARQ, arXiv 2503.15748",
        "A gradual approach whose every gap opens at the same rate; for uneven levels.",
    ),
    "bnn": (
        "BNN, arXiv 1602.02830",
        "The classic straight-through estimator, for comparison: its repair is hardtanh. Clip the latents.",
    ),
    "hardtanh": (
        PROXCONNECT_PLUS_PLUS,
        "The repair of bnn: the cheapest legitimate pair whose forward hardens as mu grows.",
    ),
    "bnn+": ("BNN+, arXiv 1812.11800", "For comparison: its repair is bnn++."),
    "bnn++": (
        PROXCONNECT_PLUS_PLUS,
        "The method to start with: sign-swish forward and backward, annealed by growing mu.",
    ),
    "bnn++m": (
        "this project, after ProxConnect++, arXiv 2402.17710",
        "bnn++ where every latent must be covered by the theory: its forward never turns back.",
    ),
    "poly": ("Bi-Real Net, arXiv 1808.00278", "For comparison: its repair is poly+."),
    "poly+": (
        PROXCONNECT_PLUS_PLUS,
        "The repair of poly: smoother than hardtanh and as cheap; saturated latents stay where they are.",
    ),
    "ede": ("IR-Net, arXiv 1909.10788", "For comparison: its repair is ede+."),
    "ede+": (
        PROXCONNECT_PLUS_PLUS,
        "The repair of ede: starts as full precision at small mu, and is smooth everywhere.",
    ),
    "reste": ("ReSTE, arXiv 2308.06689", "For comparison, mu growing from 1 to 3: its repair is reste+."),
    "reste+": (
        "this project, after ReSTE, arXiv 2308.06689",
        "The repair of reste: latents near 0 move fastest; hardens only where m is small and mu grows.",
    ),
}


# The names of step rules that are not the name of a method too, each with the method of its paper.
METHOD_OF_RULE = {"rpc": "pc", "pq": "bc"}


@dataclass(frozen=True)
class Entry:
    """A method of the catalogue.

    Args:
        name: the name of the method.
        build: makes the forward and the backward quantizer from the parameters of the method.
        source: the paper that the method comes from.
        use: the cases in which to use the method.
    """

    name: str
    build: Callable[..., tuple[Elementwise, Elementwise]]
    source: str
    use: str

    @property
    def parameters(self) -> dict[str, object]:
        """The name and the default of each parameter."""
        return {name: found.default for name, found in inspect.signature(self.build).parameters.items()}


CATALOGUE = {name: Entry(name, build, *NOTES[name]) for name, build in PAIRS.items()}


def methods() -> list[str]:
    """List the names of the methods in the catalogue.

    >>> methods()[:8]
    ['fp', 'bc', 'pc', 'binary-relax', 'parq', 'bnn', 'hardtanh', 'bnn+']
    """
    return list(CATALOGUE)


def method(name: str, **parameters: object) -> ForwardBackward:
    """Return the pair that the catalogue has under ``name``.

    Args:
        name: one of :func:`methods`.
        parameters: parameters of this method. ``levels`` of ``bc``, ``pc``, ``binary-relax`` and ``parq`` is
            the quantization set. :func:`~proxconnect.quantizers.linear_quantizer` describes ``rho`` and
            ``varrho`` of ``pc``, and :func:`~proxconnect.quantizers.reste` describes ``m`` and ``t`` of
            ``reste`` and ``reste+``.

    Raises:
        ProxConnectError: ``name`` is unknown (the message names near matches), or a parameter is unknown
            or has a value that the map refuses.

    >>> method("bnn++").forward.name
    'sign-swish'
    >>> method("bc", levels=(-1, 0, 1)).forward.name
    'projector onto {-1, 0, 1}'
    """
    if name not in CATALOGUE:
        raise ProxConnectError(unknown_method(name, CATALOGUE))
    entry = CATALOGUE[name]
    unknown = [parameter for parameter in parameters if parameter not in entry.parameters]
    if unknown:
        known = ", ".join(entry.parameters) or "no parameters"
        raise ProxConnectError(f"method {name!r} takes {known}, but got {', '.join(unknown)}")
    return ForwardBackward(*entry.build(**parameters), name)


def pair_of(value: ForwardBackward | str, role: str = "method") -> ForwardBackward:
    """Return a pair as it is, and that of the catalogue for a name.

    Args:
        value: a pair, or one of :func:`methods`.
        role: the argument that ``value`` was given as, for the message.

    Raises:
        ProxConnectError: ``value`` is neither.

    >>> pair_of("bc") == pair_of(method("bc"))
    True
    """
    if isinstance(value, ForwardBackward):
        return value
    if not isinstance(value, str):
        raise ProxConnectError(f"{role} must be a name such as 'bnn++' or a ForwardBackward, not {value!r}")
    return method(value)


def unknown_method(name: object, known: Iterable[str]) -> str:
    """Write the message for a name that is no method; the name of a step rule is told from a misspelling.

    >>> unknown_method("pq", CATALOGUE)
    "'pq' is a step rule, not a method: choose it with --rule pq (in code and recipes: rule='pq'); it trains
    the method 'bc' unless you choose another"
    """
    if name in METHOD_OF_RULE:
        return (
            f"{name!r} is a step rule, not a method: choose it with --rule {name} (in code and recipes: "
            f"rule={name!r}); it trains the method {METHOD_OF_RULE[str(name)]!r} unless you choose another"
        )
    return unknown_name("method", name, known)
