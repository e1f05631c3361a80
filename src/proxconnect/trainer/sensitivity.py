"""The accuracy that each layer costs when it alone is binarized, to choose layers for full precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from proxconnect.base.figures import figure_to
from proxconnect.base.table import Table
from proxconnect.errors import ProxConnectError
from proxconnect.layers import (
    LINEAR_AND_CONV,
    BinarizeConfig,
    binarization_of,
    binarize_,
    harden_,
    recalibrate_,
)


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
    """The result of :func:`sensitivity`, with layers in registration order; ``str()`` is a readable table."""

    baseline: float
    layers: tuple[LayerSensitivity, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the accuracies as plain values."""
        return {"baseline": self.baseline, "layers": [asdict(layer) for layer in self.layers]}

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
        return str(Table(("layer", "kind", *numbers), rows, numbers=numbers, totals=[total]))


def sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    *,
    scale: str | None = "channel",
    recalibrate: Iterable[Tensor] | None = None,
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
    >>> table.baseline, [layer.name for layer in table.layers]
    (1.0, ['0', '2'])
    """
    chosen = {name: layer for name, layer in model.named_modules() if isinstance(layer, LINEAR_AND_CONV)}
    if not chosen:
        raise ProxConnectError("sensitivity needs a model with Linear or Conv layers; this one has none")
    if binarization_of(model) is not None:
        raise ProxConnectError("sensitivity needs a full-precision model; this one is binarized already")
    batches = None if recalibrate is None else list(recalibrate)
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
    return Sensitivity(baseline, tuple(layers))
