"""Training in stages: each stage quantizes weights, activations, both or nothing for some epochs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from proxconnect.errors import TrainingError, unknown_name
from proxconnect.layers import activation_quantizers, binarized_weights

# The words of a stage, and whether each quantizes weights and activations.
_QUANTIZED = {
    "none": (False, False),
    "weights": (True, False),
    "activations": (False, True),
    "both": (True, True),
}


@dataclass(frozen=True)
class Stage:
    """A number of epochs with ``quantized`` ("none", "weights", "activations" or "both") quantized.

    Everything else computes in full precision: a layer's weight is then its latent, and its input stays as it
    is.

    >>> Stage("activations", epochs=10).weights
    False
    """

    quantized: str
    epochs: int

    def __post_init__(self) -> None:
        if self.quantized not in _QUANTIZED:
            raise TrainingError(unknown_name("stage", self.quantized, _QUANTIZED))
        if self.epochs < 1:
            raise TrainingError(f"a stage needs at least 1 epoch, not {self.epochs!r}")

    @property
    def weights(self) -> bool:
        """True if the stage quantizes weights."""
        return _QUANTIZED[self.quantized][0]

    @property
    def activations(self) -> bool:
        """True if the stage quantizes activations."""
        return _QUANTIZED[self.quantized][1]

    def enter(self, model: nn.Module) -> None:
        """Switch the quantizers of ``model`` on and off as the stage says. Latents stay as they are.

        >>> import torch, proxconnect as pc
        >>> layer = pc.binarize_(torch.nn.Linear(2, 2), pc.BinarizeConfig("bc"), lambda module, name: True)
        >>> Stage("none", epochs=1).enter(layer)
        >>> torch.equal(layer.weight, layer.parametrizations.weight.original)
        True
        """
        for found in binarized_weights(model):
            found.quantizer.enabled = self.weights
        for _, _, activation in activation_quantizers(model):
            activation.enabled = self.activations


@dataclass(frozen=True)
class StagePlace:
    """The place of a step: its stage, the steps of the stage before it, and all steps of the stage."""

    stage: Stage
    step: int
    steps: int


def place_of_step(stages: Sequence[Stage], step: int, steps_per_epoch: int) -> StagePlace:
    """Find the stage of ``step``, counted from 0; steps after the last stage count as its end.

    >>> place_of_step([Stage("none", 2), Stage("both", 3)], step=25, steps_per_epoch=10)
    StagePlace(stage=Stage(quantized='both', epochs=3), step=5, steps=30)
    """
    for stage in stages[:-1]:
        steps = stage.epochs * steps_per_epoch
        if step < steps:
            return StagePlace(stage, step, steps)
        step -= steps
    last = stages[-1].epochs * steps_per_epoch
    return StagePlace(stages[-1], min(step, last), last)


def read_stages(text: str, *, setting: str, epochs: int) -> tuple[Stage, ...]:
    """Read the stages in ``text``, such as ``"activations:10,both:20"``.

    Raises:
        TrainingError: the text cannot be read, a stage does not fit the setting, the epochs do not add up to
            ``epochs``, or the last stage does not quantize everything that the setting packs as bits.

    >>> [stage.epochs for stage in read_stages("none:2, weights:8", setting="bw", epochs=10)]
    [2, 8]
    """
    stages = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*:\s*(\d+)\s*", part)
        if found is None:
            raise TrainingError(f"stages are written as activations:10,both:20, not {text!r}")
        stages.append(Stage(found[1], int(found[2])))
    if setting == "fp":
        raise TrainingError("stages need something to quantize: setting 'fp' quantizes nothing")
    if setting == "bw" and any(stage.activations for stage in stages):
        raise TrainingError(
            f"stages {text!r} quantize activations, which setting 'bw' leaves in full precision; "
            "use 'none' and 'weights', or another setting"
        )
    total = sum(stage.epochs for stage in stages)
    if total != epochs:
        raise TrainingError(f"stages {text!r} have {total} epochs together, but epochs is {epochs}")
    if not stages[-1].weights or stages[-1].activations != (setting != "bw"):
        whole = "weights" if setting == "bw" else "both"
        raise TrainingError(
            f"the last stage must quantize all that setting {setting!r} does: end with {whole}, "
            f"not {stages[-1].quantized}"
        )
    return tuple(stages)
