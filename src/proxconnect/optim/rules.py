"""The step rules: where the gradient is taken, where the step starts from, and which methods that suits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers import CATALOGUE, ForwardBackward, method, projector
from proxconnect.theory.monotone import falls

Levels = tuple[float, ...]


@dataclass(frozen=True)
class Rule:
    """A way to step, for one latent ``w*`` with gradient ``g`` and step size ``eta``.

    Args:
        update: the step in the notation of the papers.
        takes: which pairs the rule takes, in words.
        fits: whether it takes a pair that quantizes to the given levels.
        source: where the rule comes from.
    """

    update: str
    takes: str
    fits: Callable[[ForwardBackward, Levels], bool]
    source: str


def _any(pair: ForwardBackward, levels: Levels) -> bool:
    return True


def _proximal(pair: ForwardBackward, levels: Levels) -> bool:
    """Whether B is 1, as far as a grid in steps of 1/128 on [-4, 4] shows, and F falls nowhere."""
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
    """Names of the catalogue's methods that a rule takes.

    >>> fitting_methods("rpc"), fitting_methods("pq")
    (['bc', 'pc', 'binary-relax', 'parq'], ['bc'])
    """
    binarizing = [name for name in CATALOGUE if name != "fp"]
    return [name for name in binarizing if RULES[rule].fits(method(name), (-1.0, 1.0))]


def check_fit(rule: str, pair: ForwardBackward, levels: Levels) -> None:
    """Refuse a rule that does not exist or does not fit the pair.

    Raises:
        ProxConnectError: the message names the rules, or the methods that fit.

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
            f"rule {rule!r} takes {RULES[rule].takes}, not {pair.name!r}; "
            f"methods that fit: {', '.join(fitting_methods(rule))}"
        )
