"""Accumulators of a few bits, and their treatment of integer sums that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from proxconnect.errors import ProxConnectError

OVERFLOWS = ("wrap", "saturate")
ACCUMULATOR_BITS = (*range(4, 17), 32)


class Accumulator(nn.Module):
    """An accumulator of ``bits`` bits, applied to exact sums ``s``.

    - ``"wrap"``: ``((s + 2^(b-1)) mod 2^b) - 2^(b-1)``, two's complement, which does not depend on the order
      of the terms. The gradient is 1.
    - ``"saturate"``: one clamp of the exact sum to ``[-2^(b-1), 2^(b-1) - 1]``. The gradient is 1 inside,
      bounds included, and 0 beyond.

    The module has no state; a hook on it sees the exact sum.

    Args:
        bits: ``b``.
        overflow: ``"wrap"`` or ``"saturate"``.

    >>> import torch
    >>> sums = torch.tensor([-129.0, -128.0, 127.0, 128.0])
    >>> Accumulator(8, "wrap")(sums).tolist(), Accumulator(8, "saturate")(sums).tolist()
    ([127.0, -128.0, 127.0, -128.0], [-128.0, -128.0, 127.0, 127.0])
    """

    def __init__(self, bits: int, overflow: str) -> None:
        super().__init__()
        self.bits, self.overflow = bits, overflow
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def forward(self, sums: Tensor) -> Tensor:
        """Return the final content of the accumulator, of the shape and dtype of ``sums``."""
        if self.overflow == "saturate":
            return sums.clamp(self.low, self.high)
        wrapped: Tensor = (sums - self.low).remainder(2**self.bits) + self.low
        return wrapped

    def extra_repr(self) -> str:
        """Describe width and overflow, for ``print(model)``."""
        return f"bits={self.bits}, overflow={self.overflow!r}"


class AccumulatorSums:
    """The exact sums of each accumulator, call by call, from :func:`collect_accumulators`."""

    def __init__(self) -> None:
        self._excess: dict[str, list[Tensor]] = {}
        self._overflows: dict[str, list[Tensor]] = {}

    def add(self, name: str, accumulator: Accumulator, sums: Tensor) -> None:
        """Add the sums of one call."""
        excess = (sums.abs() - accumulator.high).relu().mean()
        outside = (sums < accumulator.low) | (sums > accumulator.high)
        self._excess.setdefault(name, []).append(excess)
        self._overflows.setdefault(name, []).append(outside.detach().float().mean())

    def penalty(self) -> Tensor:
        """Compute ``mean relu(|s| - (2^(b-1) - 1))``, averaged over the layers: a scalar with a gradient.

        Raises:
            ProxConnectError: no accumulator has run.
        """
        if not self._excess:
            raise ProxConnectError(
                "no accumulator has run: call the model inside 'with collect_accumulators(model)' first"
            )
        return torch.stack([torch.stack(calls).mean() for calls in self._excess.values()]).mean()

    def overflow_rates(self) -> dict[str, float]:
        """Compute the share of sums that do not fit the accumulator, by layer."""
        return {name: torch.stack(calls).mean().item() for name, calls in self._overflows.items()}


@contextmanager
def collect_accumulators(model: nn.Module) -> Iterator[AccumulatorSums]:
    """Collect the sums of the accumulators of ``model`` within the context; the model stays as it is.

    Args:
        model: a model with layers of fewer than 32 accumulator bits.

    Raises:
        ProxConnectError: the model has no such layer.

    >>> import torch, proxconnect as pc
    >>> layer, config = torch.nn.Linear(300, 8), pc.BinarizeConfig.from_setting("bwaa", method="bc")
    >>> layer = pc.binarize_(layer, config, filter_fn=lambda module, name: True)
    >>> with collect_accumulators(layer) as sums:
    ...     outputs = layer(torch.ones(1, 300))
    >>> sums.penalty().requires_grad, sums.overflow_rates()
    (True, {'': 0.0})
    """
    accumulators = {name: m for name, m in model.named_modules() if isinstance(m, Accumulator)}
    if not accumulators:
        raise ProxConnectError(
            "the model has no accumulator of fewer than 32 bits; binarize it with setting 'bwaa'"
        )
    collected = AccumulatorSums()

    def hook(name: str) -> Callable[[Accumulator, tuple[Tensor], Tensor], None]:
        def collect(accumulator: Accumulator, args: tuple[Tensor], output: Tensor) -> None:
            collected.add(name, accumulator, args[0])

        return collect

    handles = [
        accumulator.register_forward_hook(hook(name.rpartition(".")[0]))
        for name, accumulator in accumulators.items()
    ]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()
