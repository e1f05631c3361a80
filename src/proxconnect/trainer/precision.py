"""The number format of training steps: float32, or bfloat16 where it is faster."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

PRECISIONS = ("32", "bf16", "auto")

_STEPS = 4
# Results in float32 are the reference, so bfloat16 has to save more than a few percent.
_WORTHWHILE = 0.95


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in ``precision`` ("32" or "bf16") within the context.

    Under "bf16" torch's autocast runs convolutions and matrix products in bfloat16. Parameters, latents and
    the statistics of BatchNorm stay float32, and so do products of 1-bit activations: their sums are exact.
    """
    if precision != "bf16":
        yield
        return
    with ExitStack() as contexts:
        contexts.enter_context(torch.autocast(device.type, torch.bfloat16))
        if device.type == "cpu":
            # In bfloat16 the backward pass of torch's fused attention is ten times slower than products.
            contexts.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def fastest_precision(
    model: nn.Module, images: Tensor, show: Callable[[str], None], *, warm_up: int = 1
) -> str:
    """Return the faster of "32" and "bf16" on this machine, by timing training steps of a copy of ``model``.

    Args:
        model: the model to train; it does not change.
        images: one batch, on the model's device.
        show: receives a line with the choice and the times behind it.
        warm_up: the number of steps in each precision that are not timed.
    """
    trial = copy.deepcopy(model).train()
    seconds: dict[str, list[float]] = {"32": [], "bf16": []}
    for step in range(warm_up + _STEPS):
        for precision, times in seconds.items():
            start = _now(images.device)
            with computing_in(precision, images.device):
                answers = trial(images)
            labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
            functional.cross_entropy(answers.float(), labels).backward()
            trial.zero_grad()
            if step >= warm_up:
                times.append(_now(images.device) - start)
    medians = {precision: 1000 * statistics.median(times) for precision, times in seconds.items()}
    chosen = "bf16" if medians["bf16"] < _WORTHWHILE * medians["32"] else "32"
    show(
        f"precision {chosen}: a step takes {medians['bf16']:.0f} ms in bfloat16, "
        f"{medians['32']:.0f} ms in float32"
    )
    return chosen


def _now(device: torch.device) -> float:
    """Read the time in seconds: on a CPU processor time, which other processes hardly lengthen."""
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()
