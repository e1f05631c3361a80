"""Detection of mistakes in a training loop that raise no error, from the movement of the latents."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from proxconnect.base.notice import notice
from proxconnect.layers import BinarizedWeight, own_part

# The number of calls of a schedule's step that are watched.
_STEPS = 100


class LoopWatch:
    """A watch over the first steps of a training loop, which warns once of each mistake and changes nothing.

    - The schedule counts steps in which no optimizer moved the latents, as under gradient accumulation.
    - An optimizer shrinks the latents by weight decay, see :func:`warn_of_decay`.

    Args:
        weights: the binarized weights whose ``mu`` is scheduled.
    """

    def __init__(self, weights: Iterable[BinarizedWeight]) -> None:
        self._weights = [found for found in weights if found.latent.requires_grad]
        self._steps = self._moved = self._idle = 0
        self._smallest = min((found.latent for found in self._weights), key=nn.Parameter.numel, default=None)
        self._remember()

    def stepped(self) -> bool:
        """Look at one step, and return True if the watch is to look at the next one too."""
        latent = self._smallest
        if latent is None or latent.is_inference() or latent.is_meta:
            return False
        self._steps += 1
        if latent._version != self._version or not torch.equal(own_part(latent), self._value):
            self._moved += 1
            if self._moved == 1:
                warn_of_decay(_groups(), self._weights)
        elif latent.grad is not None and torch.isfinite(own_part(latent.grad)).all():
            # A step that a GradScaler skips has gradients that are not finite.
            self._idle += 1
        accumulated = self._moved and self._idle >= 2 and 4 * self._idle >= self._steps
        if accumulated:
            notice(
                f"a mu schedule counted {self._steps} steps, in {self._idle} of which no optimizer moved the "
                "latents: with gradient accumulation, call schedule.step() after optimizer.step() alone, and "
                "make the schedule with steps= as many as the optimizer takes"
            )
        self._remember()
        return not accumulated and self._steps < _STEPS

    def _remember(self) -> None:
        if self._smallest is not None and not self._smallest.is_inference():
            # Fused optimizers do not count the version up.
            self._version, self._value = self._smallest._version, own_part(self._smallest.detach()).clone()


def warn_of_decay(groups: Iterable[dict[str, Any]], weights: Iterable[BinarizedWeight]) -> None:
    """Warn, once for each model, of latents in a parameter group with weight decay.

    A smaller latent flips its sign more easily. Groups of :func:`param_groups` raise no warning: their weight
    decay of the latents was chosen.
    """
    # The rule fp trains in full precision.
    latents = {id(weight.latent): weight for weight in weights if weight.quantizer.rule != "fp"}
    decayed = {
        id(parameter): group["weight_decay"]
        for group in groups
        for parameter in group["params"]
        if id(parameter) in latents and group.get("weight_decay") and group.get("name") != "latent"
    }
    shrunk = [weight for latent, weight in latents.items() if latent in decayed]
    if not shrunk or any(weight.quantizer.decay_noticed for weight in shrunk):
        return
    for weight in shrunk:
        weight.quantizer.decay_noticed = True
    first = shrunk[0]
    notice(
        f"{len(shrunk)} latent weights, {first.name!r} first, are in a parameter group with weight_decay "
        f"{decayed[id(first.latent)]:g}, which makes their signs flip: make the optimizer from "
        "pc.param_groups(model, lr, weight_decay=...), which does not decay latents unless you pass "
        "latent_weight_decay="
    )


def _groups() -> list[dict[str, Any]]:
    """List the parameter groups of all optimizers in this process.

    Only the garbage collector knows all optimizers.
    """
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) is dict and "weight_decay" in thing and type(thing.get("params")) is list
    ]
