"""What can be seen of a training loop by looking at the latents: mistakes that no error would show."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from proxconnect.layers import BinarizedWeight

# As many calls of a schedule's step are looked at.
_STEPS = 100


class LoopWatch:
    """Looks at the first steps of a loop, and warns once of each mistake; changes nothing.

    - Steps are counted in which no optimizer moved the latents, as under gradient accumulation.
    - An optimizer shrinks the latents: see :func:`warn_of_decay`.

    Args:
        weights: the binarized weights whose ``mu`` is scheduled.
    """

    def __init__(self, weights: Iterable[BinarizedWeight]) -> None:
        self._weights = [found for found in weights if found.latent.requires_grad]
        self._steps = self._moved = self._idle = 0
        self._smallest = min((found.latent for found in self._weights), key=nn.Parameter.numel, default=None)
        self._remember()

    def stepped(self) -> bool:
        """Look at one step; returns whether to go on looking."""
        latent = self._smallest
        if latent is None or latent.is_inference() or latent.is_meta:
            return False
        self._steps += 1
        if latent._version != self._version or not torch.equal(latent, self._value):
            self._moved += 1
            if self._moved == 1:
                warn_of_decay(_groups(), self._weights, stacklevel=4)
        elif latent.grad is not None and torch.isfinite(latent.grad).all():
            # A step that a GradScaler skips has gradients that are not finite.
            self._idle += 1
        accumulated = self._moved and self._idle >= 2 and 4 * self._idle >= self._steps
        if accumulated:
            warnings.warn(
                f"a mu schedule counted {self._steps} steps, in {self._idle} of which no optimizer moved the "
                "latents: with gradient accumulation, call schedule.step() after optimizer.step() alone, and "
                "make the schedule with steps= as many as the optimizer takes",
                stacklevel=3,
            )
        self._remember()
        return not accumulated and self._steps < _STEPS

    def _remember(self) -> None:
        if self._smallest is not None and not self._smallest.is_inference():
            # Fused optimizers do not count the version up.
            self._version, self._value = self._smallest._version, self._smallest.detach().clone()


def warn_of_decay(
    groups: Iterable[dict[str, Any]], weights: Iterable[BinarizedWeight], *, stacklevel: int
) -> None:
    """Warn, once for each model, of latents in a parameter group with weight decay that nobody asked for.

    Shrinking a latent makes its sign easier to flip. Groups of :func:`param_groups` are what was asked for.
    """
    # Under the rule fp, training is that of full precision.
    latents = {id(each.latent): each for each in weights if each.quantizer.rule != "fp"}
    decayed = {
        id(parameter): group["weight_decay"]
        for group in groups
        for parameter in group["params"]
        if id(parameter) in latents and group.get("weight_decay") and group.get("name") != "latent"
    }
    found = [latents[each] for each in latents if each in decayed]
    if not found or any(each.quantizer.decay_noticed for each in found):
        return
    for each in found:
        each.quantizer.decay_noticed = True
    warnings.warn(
        f"{len(found)} latent weights, {found[0].name!r} first, are in a parameter group with weight_decay "
        f"{decayed[id(found[0].latent)]:g}, which makes their signs flip: make the optimizer from "
        "pc.param_groups(model, lr, weight_decay=...), which leaves them out, unless you say "
        "latent_weight_decay=",
        stacklevel=stacklevel,
    )


def _groups() -> list[dict[str, Any]]:
    """The parameter groups of whatever optimizers there are.

    An optimizer knows its parameters, and nothing but the garbage collector knows the optimizers.
    """
    return [
        each
        for each in gc.get_objects()
        if type(each) is dict and "weight_decay" in each and type(each.get("params")) is list
    ]
