"""The step rules: the point of the gradient, the start of the step, and the methods that fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers import CATALOGUE, ForwardBackward, method, projector
from proxconnect.theory.criterion.monotone import falls

Levels = tuple[float, ...]


@dataclass(frozen=True)
class Rule:
    """A step of one latent ``w*`` with gradient ``g`` and step size ``eta``.

    Args:
        update: the step in the notation of the papers.
        accepted: the pairs that the rule accepts, in words.
        fits: tells whether the rule accepts a pair that quantizes to the given levels.
        source: the paper that the rule comes from.
    """

    update: str
    accepted: str
    fits: Callable[[ForwardBackward, Levels], bool]
    source: str


def _any(pair: ForwardBackward, levels: Levels) -> bool:
    return True


def _proximal(pair: ForwardBackward, levels: Levels) -> bool:
    """Tell whether B is 1, on a grid in steps of 1/128 from -4 to 4, and F falls nowhere."""
    w = torch.arange(-512, 513, dtype=torch.float64, device="cpu") / 128
    return bool((pair.backward(w, 1.0) == 1).all()) and not falls(pair.forward)


def _projecting(pair: ForwardBackward, levels: Levels) -> bool:
    return _proximal(pair, levels) and pair.forward == projector(levels)


RULES = {
    "fp": Rule(
        "w* <- w* - eta g(w*), quantized at the end",
        "any method",
        _any,
        "full precision with post-training quantization",
    ),
    "pc": Rule(
        "w* <- w* - eta B(w*) g(F(w*))",
        "any method",
        _any,
        "ProxConnect, arXiv 2110.13220; ProxConnect++, arXiv 2402.17710",
    ),
    "rpc": Rule(
        "w* <- P(w*) - eta g(w*)",
        "a method whose forward quantizer is a proximal map and whose backward quantizer is 1",
        _proximal,
        "ProxConnect, arXiv 2110.13220",
    ),
    "pq": Rule(
        "w <- P(w - eta g(w)), P the W-shaped prox of strength eta lambda",
        "the projector onto the levels, which its W-shaped prox approaches",
        _projecting,
        "ProxQuant, arXiv 1810.00861",
    ),
}


def fitting_methods(rule: str) -> list[str]:
    """List the methods of the catalogue that a rule accepts.

    >>> fitting_methods("rpc"), fitting_methods("pq")
    (['bc', 'pc', 'binary-relax', 'parq'], ['bc'])
    """
    binarizing = [name for name in CATALOGUE if name != "fp"]
    return [name for name in binarizing if RULES[rule].fits(method(name), (-1.0, 1.0))]


def check_fit(rule: str, pair: ForwardBackward, levels: Levels) -> None:
    """Refuse a rule that does not exist or does not accept the pair.

    Raises:
        ProxConnectError: the rule is unknown, or the pair does not fit it; the message names the rules, or
            the methods that fit.

    >>> import proxconnect as pc
    >>> check_fit("pq", pc.method("bnn++"), (-1, 1))
    Traceback (most recent call last):
    ...
    proxconnect.errors.ProxConnectError: rule 'pq' takes ..., not 'bnn++'; methods that fit: bc
    """
    if rule not in RULES:
        raise ProxConnectError(unknown_name("rule", rule, RULES))
    if not RULES[rule].fits(pair, levels):
        raise ProxConnectError(
            f"rule {rule!r} takes {RULES[rule].accepted}, not {pair.name!r}; "
            f"methods that fit: {', '.join(fitting_methods(rule))}"
        )
