"""Statistics of the binarized layers of a model, for a training run to log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.errors import ProxConnectError
from proxconnect.layers import BinarizedWeight, BinaryWeight, WeightParts, binarized_weights, level_distance
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory import outside_exact_interval

# B counts as stopping a gradient where it is below this share of its peak.
_KILLED = 1e-3
_BINS = 24
_WIDEST = 2.999


@torch.no_grad()
def layer_statistics(
    model: nn.Module, gradients: Mapping[str, Tensor] | None = None
) -> dict[str, dict[str, float]]:
    """Compute statistics of every binarized layer as it is now; for any training loop.

    - ``outside_exact``: share of latents outside the exact interval of the layer's pair
      (:func:`proxconnect.theory.outside_exact_interval`); absent for a pair that ``check`` refuses.
    - ``level_distance``: mean distance of the weight from the levels, in units of its scale
      (:func:`proxconnect.layers.level_distance`); 0 once F has closed onto the levels.
    - ``gradient_killed``: share of ``sum |g|`` at latents where ``|B|`` is at most a thousandth of its peak,
      where ``g`` is the gradient of the quantized weight. It is there only with ``gradients``, and only under
      the rule ``pc``, since the other rules have no B.

    Args:
        model: any module.
        gradients: ``g`` by the name of the weight, as :func:`weight_gradients` collects them.

    Returns:
        The statistics by the name of the weight. A weight that a training stage switches off is left out.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> with weight_gradients(layer) as gradients:
    ...     layer(torch.rand(3, 4)).sum().backward()
    >>> sorted(layer_statistics(layer, gradients)["weight"])
    ['gradient_killed', 'level_distance', 'outside_exact']
    """
    try:
        outside = outside_exact_interval(model)
    except ProxConnectError:  # check refuses a pair, which can be trained nevertheless
        outside = {}
    statistics: dict[str, dict[str, float]] = {}
    for found in binarized_weights(model):
        name, quantizer = found.name, found.quantizer
        if not quantizer.enabled:
            continue
        latent = quantizer.normalized(found.whole_latent)
        statistics[name] = {"level_distance": level_distance(found)}
        if name in outside:
            statistics[name]["outside_exact"] = outside[name]
        if gradients is not None and name in gradients and quantizer.rule == "pc":
            statistics[name]["gradient_killed"] = _killed(gradients[name], latent, quantizer)
    return statistics


def signs_of(model: nn.Module) -> dict[str, Tensor]:
    """Return which latents are at least 0, by the name of the weight."""
    return {found.name: found.whole_latent >= 0 for found in binarized_weights(model)}


def flip_rates(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, float]:
    """Compute the share of signs that changed, by the name of the weight; see :func:`signs_of`."""
    return {name: float((now[name] != signs).float().mean()) for name, signs in before.items()}


def overall(layers: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]) -> dict[str, float]:
    """Compute the mean of each statistic over the weights that have it.

    Args:
        layers: statistics by the name of the weight, as of :func:`layer_statistics`.
        sizes: number of latents by the name of the weight.

    >>> overall({"a": {"flip_rate": 0.5}, "b": {"flip_rate": 0.0}}, {"a": 1, "b": 3})
    {'flip_rate': 0.125}
    """
    means: dict[str, float] = {}
    for key in dict.fromkeys(key for statistics in layers.values() for key in statistics):
        names = [name for name in layers if key in layers[name]]
        means[key] = sum(sizes[name] * layers[name][key] for name in names) / sum(
            sizes[name] for name in names
        )
    return means


def latent_histogram(model: nn.Module) -> list[float]:
    """Compute the shares of all latents of ``model``, in units of their scales, in 24 bins from -3 to 3.

    Latents beyond -3 and 3 count to the outermost bins.

    Raises:
        ProxConnectError: no layer is binarized.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> len(latent_histogram(layer)), round(sum(latent_histogram(layer)), 6)
    (24, 1.0)
    """
    counts = [_counts(found) for found in binarized_weights(model)]
    if not counts:
        raise ProxConnectError("the model has no latents: binarize_ it first")
    return _shares(torch.stack(counts).sum(dim=0))


def latent_histograms(model: nn.Module) -> dict[str, list[float]]:
    """Compute the histogram (:func:`latent_histogram`) of the latents of each weight, by its name.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> latent_histograms(layer)["weight"] == latent_histogram(layer)
    True
    """
    return {found.name: _shares(_counts(found)) for found in binarized_weights(model)}


def _counts(found: BinarizedWeight) -> Tensor:
    latent = found.quantizer.normalized(found.whole_latent).float()
    return latent.clamp(-_WIDEST, _WIDEST).histc(_BINS, -3, 3)


def _shares(counts: Tensor) -> list[float]:
    shares: list[float] = (counts / counts.sum()).tolist()
    return shares


def _killed(gradient: Tensor, latent: Tensor, quantizer: BinaryWeight) -> float:
    backward = quantizer.pair.backward
    slope = evaluated(backward, latent, quantizer.mu).abs()
    # If no latent is near 0, none of their slopes may be the peak.
    peak = torch.maximum(slope.max(), backward(latent.new_zeros(1), quantizer.mu).abs().max())
    size = gradient.abs()
    return float(
        (size * (slope <= _KILLED * peak)).sum() / size.sum().clamp(min=torch.finfo(size.dtype).tiny)
    )


@contextmanager
def weight_gradients(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the gradients of the quantized weights by name; autograd itself does not keep them.

    Run a forward and a backward pass within the context. The gradients of several passes add up.

    Yields:
        A dictionary that each backward pass fills.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn"), lambda module, name: True)
    >>> with weight_gradients(layer) as gradients:
    ...     layer(torch.ones(1, 4)).sum().backward()
    >>> gradients["weight"].shape
    torch.Size([2, 4])
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
