"""The accuracy that each layer costs when it alone is binarized, to choose layers for full precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from proxconnect.base.figures import figure_to
from proxconnect.base.notice import notice
from proxconnect.base.table import Table
from proxconnect.errors import ProxConnectError
from proxconnect.layers import (
    LINEAR_AND_CONV,
    BinarizeConfig,
    binarization_of,
    binarize_,
    default_layers,
    harden_,
    recalibrate_,
)

# A layer stands out if it loses as many points, and as many times what the layer in the middle loses.
_LEAST_LOST = 0.02
_TIMES_THE_MEDIAN = 3


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer: name, kind, number of weights, and the accuracy and its loss when it alone is binarized."""

    name: str
    kind: str
    weights: int
    accuracy: float
    lost: float


@dataclass(frozen=True)
class Sensitivity:
    """The result of :func:`sensitivity`; ``str()`` is a readable table that ends with a recommendation.

    Args:
        baseline: the accuracy of the model in full precision.
        layers: the layers, the one that loses most first.
        ends: the first and the last layers, which ``binarize_`` leaves in full precision by default.
        calibration_images: the number of images that BatchNorm was settled on for each layer; 0 if it was
            not.
    """

    baseline: float
    layers: tuple[LayerSensitivity, ...]
    ends: tuple[str, ...] = ()
    calibration_images: int = 0

    @property
    def keep(self) -> tuple[str, ...]:
        """The layers to keep in full precision beside the first and the last, the most sensitive first.

        They lose at least two points, and at least three times as much as the layer in the middle of all.
        """
        middle = median(layer.lost for layer in self.layers)
        least = max(_LEAST_LOST, _TIMES_THE_MEDIAN * middle)
        return tuple(
            layer.name for layer in self.layers if layer.lost >= least and layer.name not in self.ends
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the accuracies and the layers to keep as plain values."""
        return {
            "baseline": self.baseline,
            "layers": [asdict(layer) for layer in self.layers],
            "calibration_images": self.calibration_images,
            "keep": list(self.keep),
        }

    def plot(self, path: Path) -> None:
        """Draw the accuracy that each layer loses as bars; the ending of ``path`` chooses the format.

        Raises:
            ProxConnectError: the format is unknown.
        """
        with figure_to(path, size=(6.4, 1.2 + 0.22 * len(self.layers))) as figure:
            axes = figure.subplots()
            axes.barh([layer.name for layer in self.layers], [100 * layer.lost for layer in self.layers])
            axes.invert_yaxis()
            axes.axvline(0, color="0.3", linewidth=0.8)
            axes.set_xlabel(f"accuracy lost, in points of {100 * self.baseline:.2f} %")
            axes.set_title("Each layer binarized alone")

    def __str__(self) -> str:
        numbers = ("weights", "accuracy", "lost")
        rows = (
            (layer.name, layer.kind, f"{layer.weights:,}", f"{layer.accuracy:.2%}", f"{layer.lost:.2%}")
            for layer in self.layers
        )
        total = ("none", "", "", f"{self.baseline:.2%}", "")
        table = Table(("layer", "kind", *numbers), rows, numbers=numbers, totals=[total])
        settled = (
            f"BatchNorm settled on {self.calibration_images:,} images for each layer"
            if self.calibration_images
            else "BatchNorm not settled"
        )
        return f"{table}\n{settled}\n{self._recommendation()}"

    def _recommendation(self) -> str:
        usual = f"the first and the last layer ({', '.join(self.ends)}), as by default"
        if not self.keep:
            return f"keep in full precision: {usual}; no other layer stands out"
        names, weights = ",".join(self.keep), {layer.name: layer.weights for layer in self.layers}
        share = sum(weights[name] for name in self.keep) / sum(weights.values())
        return (
            f"keep in full precision: {usual}, and {', '.join(self.keep)} ({share:.1%} of the weights): "
            f"proxconnect train --keep {names}"
        )


def sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    *,
    scale: str | None = "channel",
    recalibrate: Iterable[Tensor] | Literal[False] | None = None,
    on_layer: Callable[[LayerSensitivity], None] = lambda layer: None,
) -> Sensitivity:
    """Measure the accuracy that each ``Linear`` or ``Conv`` layer costs when it alone is ``alpha sign(w)``.

    ``alpha`` is the mean ``|w|``. The model is not trained afterwards, so it loses more than a trained
    network would: the result ranks the layers. Copies are binarized; the model stays as it is.

    Args:
        model: a trained full-precision model.
        evaluate: returns the accuracy, from 0 to 1, of a model in eval mode.
        scale: scale of the binarized layer: ``"channel"``, ``"tensor"`` or None.
        recalibrate: input batches from which BatchNorm's statistics are recomputed before each evaluation.
            Without them a model with BatchNorm is measured with statistics that do not fit its binarized
            layer; this warns, unless ``recalibrate=False`` says that it is wanted.
        on_layer: receives the result of each layer as soon as it is there.

    Raises:
        ProxConnectError: the model has no such layer, has binarized layers already, or there is nothing to
            recalibrate.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> inputs = torch.randn(100, 4)
    >>> labels = model(inputs).argmax(1)
    >>> table = sensitivity(model, lambda m: (m(inputs).argmax(1) == labels).float().mean().item())
    >>> table.baseline, sorted(layer.name for layer in table.layers)
    (1.0, ['0', '2'])
    """
    chosen = {name: layer for name, layer in model.named_modules() if isinstance(layer, LINEAR_AND_CONV)}
    if not chosen:
        raise ProxConnectError("sensitivity needs a model with Linear or Conv layers; this one has none")
    if binarization_of(model) is not None:
        raise ProxConnectError("sensitivity needs a full-precision model; this one is binarized already")
    if recalibrate is None and any(isinstance(module, _BatchNorm) for module in model.modules()):
        notice(
            "the model has BatchNorm, whose statistics do not fit a layer that is binarized: pass "
            "recalibrate=batches, images as in training, or the table ranks these statistics and not the "
            "layers (recalibrate=False is silent)"
        )
    batches = None if recalibrate is None or recalibrate is False else list(recalibrate)
    baseline = evaluate(copy.deepcopy(model).eval())
    layers = []
    for name, layer in chosen.items():
        trial = copy.deepcopy(model).eval()
        config = BinarizeConfig("bc", scale=scale)
        harden_(binarize_(trial, config, filter_fn=lambda module, fqn, name=name: fqn == name))  # type: ignore[misc]
        if batches is not None:
            recalibrate_(trial, batches)
        accuracy = evaluate(trial)
        weights = layer.weight.numel()
        result = LayerSensitivity(name, type(layer).__name__, weights, accuracy, baseline - accuracy)
        layers.append(result)
        on_layer(result)
    layers.sort(key=lambda layer: -layer.lost)
    usual = default_layers(model)
    ends = tuple(name for name in chosen if name not in usual)
    return Sensitivity(baseline, tuple(layers), ends, sum(map(len, batches or ())))
