"""What the binarized layers of a model look like now: statistics for training to log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.errors import ProxConnectError
from proxconnect.layers import BinaryWeight, WeightParts, binarized_weights
from proxconnect.quantizers import projector
from proxconnect.quantizers.pair import safe_argument
from proxconnect.theory import outside_exact_interval

# Below this share of its peak, B stops a gradient: all of bnn's clip, the far tails of smooth slopes.
_KILLED = 1e-3
_BINS = 24
_WIDEST = 2.999


@torch.no_grad()
def layer_statistics(
    model: nn.Module, gradients: Mapping[str, Tensor] | None = None
) -> dict[str, dict[str, float]]:
    """Statistics of every binarized layer, in any training loop; each is a number from one look at the layer.

    - ``outside_exact``: share of latents outside the exact interval of the layer's pair
      (:func:`proxconnect.theory.outside_exact_interval`); absent for a pair that ``check`` refuses.
    - ``level_distance``: mean distance of ``F(w*/s)`` from the nearest level; 0 once F has closed onto them.
    - ``gradient_killed``: with ``g`` the gradient of the quantized weight, the share of ``sum |g|`` at
      latents where ``|B|`` is at most a thousandth of its peak. Only with ``gradients``, and under rule pc,
      the only one that has a B.

    Args:
        model: any module.
        gradients: ``g`` by weight, as :func:`weight_gradients` collects them.

    Returns:
        The statistics by the weights' names; nothing of a weight that is switched off by a training stage.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> with weight_gradients(layer) as gradients:
    ...     layer(torch.rand(3, 4)).sum().backward()
    >>> sorted(layer_statistics(layer, gradients)["weight"])
    ['gradient_killed', 'level_distance', 'outside_exact']
    """
    try:
        outside = outside_exact_interval(model)
    except ProxConnectError:  # such a pair trains all the same
        outside = {}
    statistics: dict[str, dict[str, float]] = {}
    for found in binarized_weights(model):
        name, quantizer = found.name, found.quantizer
        if not quantizer.enabled:
            continue
        latent = quantizer.normalized(found.latent)
        forward = quantizer.pair.forward
        value = forward(safe_argument(latent, forward), quantizer.mu)
        nearest = projector(quantizer.config.levels)(value, 1.0)
        statistics[name] = {"level_distance": float((value - nearest).abs().mean())}
        if name in outside:
            statistics[name]["outside_exact"] = outside[name]
        if gradients is not None and name in gradients and quantizer.rule == "pc":
            statistics[name]["gradient_killed"] = _killed(gradients[name], latent, quantizer)
    return statistics


def latent_histogram(model: nn.Module) -> list[float]:
    """The share of all latents of ``model``, in units of their scales, in each of 24 bins from -3 to 3.

    What lies beyond counts to the outermost bins.

    Raises:
        ProxConnectError: no layer is binarized.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> len(latent_histogram(layer)), round(sum(latent_histogram(layer)), 6)
    (24, 1.0)
    """
    counts = [
        found.quantizer.normalized(found.latent.detach()).float().clamp(-_WIDEST, _WIDEST).histc(_BINS, -3, 3)
        for found in binarized_weights(model)
    ]
    if not counts:
        raise ProxConnectError("the model has no latents: binarize_ it first")
    total = torch.stack(counts).sum(dim=0)
    shares: list[float] = (total / total.sum()).tolist()
    return shares


def _killed(gradient: Tensor, latent: Tensor, quantizer: BinaryWeight) -> float:
    backward = quantizer.pair.backward
    slope = backward(safe_argument(latent, backward), quantizer.mu).abs()
    # Where no latent is left near 0, the slope's peak is not among theirs.
    peak = torch.maximum(slope.max(), backward(latent.new_zeros(1), quantizer.mu).abs().max())
    size = gradient.abs()
    return float(
        (size * (slope <= _KILLED * peak)).sum() / size.sum().clamp(min=torch.finfo(size.dtype).tiny)
    )


@contextmanager
def weight_gradients(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the gradients of the quantized weights, which autograd does not keep, by name.

    Run a forward and a backward pass within the context; several add up.

    Yields:
        A dictionary that each backward pass fills.
    """
    gradients: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def add(gradient: Tensor) -> None:
            gradients[name] = gradients[name] + gradient if name in gradients else gradient.detach()

        def after_forward(quantizer: nn.Module, inputs: Any, output: Tensor | WeightParts) -> None:
            weight = output.weight if isinstance(output, WeightParts) else output
            if weight.requires_grad and not weight.is_leaf:
                weight.register_hook(add)

        return after_forward

    with ExitStack() as hooks:
        for found in binarized_weights(model):
            hooks.callback(found.quantizer.register_forward_hook(watch(found.name)).remove)
        yield gradients
