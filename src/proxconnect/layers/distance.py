"""Measure how far quantized values are from their levels, and warn before hardening moves them far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from proxconnect.base.notice import notice
from proxconnect.errors import ProxConnectError
from proxconnect.layers._parametrization import BinarizedWeight, binarized_weights
from proxconnect.layers._scales import BINARY
from proxconnect.layers._sharpness import Sharp
from proxconnect.layers.activations import BinaryActivation, activation_quantizers
from proxconnect.quantizers import ForwardBackward, projector
from proxconnect.quantizers._levels import written
from proxconnect.quantizers.pair import evaluated

FAR = 0.1
"""Mean distance, in units of the scale, from which on hardening changes what a network computes."""
_INPUTS = 1001
_LARGE_MU = 1e4, 1e3, 1e2  # the first at which a forward quantizer is finite
_MEAN_MAGNITUDE = math.sqrt(2 / math.pi)  # of a standard normal variable


@torch.no_grad()
def level_distance(found: BinarizedWeight) -> float:
    """Compute the mean distance of a weight from the levels that hardening gives it, in units of its scale.

    The distance is the mean of ``|v - P_Q(v)|`` with ``v = F_mu(w*/s)``. Where the layer computes with its
    latent in eval mode too, as under the rule ``pq``, ``v`` is ``w*/s``. It is 0 where ``F`` is a sign.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(64, 8), pc.BinarizeConfig("bnn++"), lambda module, name: True)
    >>> weight = next(binarized_weights(layer))
    >>> level_distance(weight) > 0.1
    True
    >>> _ = pc.MuSchedule(layer, "constant", start=1000)
    >>> level_distance(weight) < 0.01
    True
    """
    quantizer, value = found.quantizer, found.quantizer.normalized(found.whole_latent)
    if quantizer.enabled and quantizer.rule != "pq":
        value = evaluated(quantizer.pair.forward, value, quantizer.mu)
    return _mean_distance(value, quantizer.config.levels)


@torch.no_grad()
def input_distance(quantizer: BinaryActivation) -> float:
    """Compute the mean distance of binary activations from -1 and +1, for standard normal inputs.

    A normalisation layer in front of the quantizer makes this distribution likely.
    """
    inputs = normal_quantiles().to(quantizer.mu.device)
    value = evaluated(quantizer.pair.forward, inputs, quantizer.mu) if quantizer.enabled else inputs
    return _mean_distance(value, BINARY)


def normal_quantiles() -> Tensor:
    """Return 1,001 equally likely quantiles of the standard normal distribution, in float32."""
    shares = (torch.arange(_INPUTS, dtype=torch.float32, device="cpu") + 0.5) / _INPUTS
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles


@torch.no_grad()
def open_distance(pair: ForwardBackward, levels: tuple[float, ...], mu: float) -> float:
    """Compute the mean distance of ``F_mu`` from the levels, for normal latents whose mean magnitude is 1.

    It is the distance that hardening moves such weights, in units of their scale: 0 for a sign. It is NaN
    where ``F`` fails or is not finite.

    >>> import proxconnect as pc
    >>> [round(open_distance(pc.method("ede+"), (-1, 1), mu), 2) for mu in (1, 10, 100)]
    [0.38, 0.04, 0.0]
    """
    latents = normal_quantiles().double() / _MEAN_MAGNITUDE
    try:
        return _mean_distance(evaluated(pair.forward, latents, mu), levels)
    except Exception:  # whatever the user's function raises; training will show it
        return math.nan


def warn_if_open(pairs: Iterable[tuple[ForwardBackward, tuple[float, ...]]], end: float = 0.0) -> None:
    """Warn in one line of each pair whose ``F`` does not approach its levels as ``mu`` grows, nor at ``end``.

    ``F`` is taken at the largest of a few large sharpnesses at which it is finite.
    """
    seen: list[tuple[ForwardBackward, tuple[float, ...]]] = []
    for pair, levels in pairs:
        if (pair, levels) in seen:
            continue
        seen.append((pair, levels))
        distances = ((mu, open_distance(pair, levels, mu)) for mu in _LARGE_MU)
        mu, distance = next((known for known in distances if math.isfinite(known[1])), (0.0, 0.0))
        if distance <= FAR or (end and open_distance(pair, levels, end) <= FAR):
            continue
        notice(
            f"the forward quantizer of {pair.name!r} does not approach the levels {written(levels)} as mu "
            f"grows: at mu {mu:g} it is {distance:.0%} of the scale away from them on average, so that "
            "hardening will change what the network computes. See where it ends with pc.check(pair).ends; "
            "pc.repair(pair) scales one that fades or grows with mu; any other needs a forward quantizer "
            "that becomes a step at these levels, such as tanh(mu w)"
        )


def warn_if_far(model: nn.Module) -> None:
    """Warn in one line where hardening moves the weights or the binary activations of ``model`` far.

    A model whose latents are those that ``binarize_`` found is passed over: no training can be lost. So is
    one whose pair is not at hand, as in a checkpoint that names a module of the user's; hardening needs none.
    """
    weights = list(binarized_weights(model))
    if not any(_is_trained(found) for found in weights):
        return
    try:
        soft = [_Soft(level_distance(found), found.name, found.quantizer) for found in weights]
        inputs = [
            _Soft(input_distance(quantizer), name or "(model)", quantizer)
            for name, _, quantizer in activation_quantizers(model)
        ]
    except ProxConnectError:
        return
    _warn("weights", soft)
    _warn("activations", inputs)


class _Soft(NamedTuple):
    distance: float
    name: str
    quantizer: Sharp


def _warn(what: str, measured: Sequence[_Soft]) -> None:
    far = [soft for soft in measured if soft.distance > FAR]
    if not far:
        return
    distance, name, quantizer = max(far, key=lambda soft: soft.distance)
    mu = f"{quantizer.mu.item():.3g}"
    if not quantizer.mu_squared.item():
        mu += ", which no schedule has set"
    of = "" if what == "weights" else ', of="activations"'
    notice(
        f"hardening changes the {what} of {len(far)} of {len(measured)} layers by more than {FAR:.0%} of "
        f"their scale, most in {name!r}: {distance:.0%}, at mu {mu}. The hardened network will be less "
        f"accurate than the trained one: train with pc.MuSchedule(model, ..., steps=all training steps{of}) "
        "and call its step() after each step of the optimizer"
    )


def _is_trained(found: BinarizedWeight) -> bool:
    """Tell whether a latent differs from the weight that ``binarize_`` found; True where nothing tells."""
    quantizer = found.quantizer
    if quantizer.config.scale is None:
        return True
    started = quantizer.starting_scales(found.whole_latent)["latent_scale"]
    # Averaging a model with itself, as tools for averages do, moves latents by roundings.
    return not torch.allclose(started, quantizer.latent_scale, rtol=1e-5, atol=0)


def _mean_distance(value: Tensor, levels: tuple[float, ...]) -> float:
    return float((value - projector(levels)(value, 1.0)).abs().mean())
