"""Compute activations of floats by kernels where those are faster than torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from proxconnect.base.eager import unobserved
from proxconnect.kernels import activate

# Of fewer elements, the way to a kernel takes longer than torch's operator.
_LEAST_ELEMENTS = 4096


@dataclass(frozen=True)
class FloatActivation:
    """An activation of floats, by a kernel if only eager PyTorch sees the input.

    Args:
        name: as :func:`proxconnect.kernels.activate` takes it.
        function: torch's operator with its arguments.
    """

    name: str
    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the activation of every element of ``x``."""
        if x.numel() < _LEAST_ELEMENTS or not unobserved(x):
            return self.function(x)
        return activate(x, self.name)
