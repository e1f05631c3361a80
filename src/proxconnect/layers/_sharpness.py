"""Modules with a sharpness ``mu`` of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn


class Sharp(nn.Module):
    """A module with the buffer ``mu``: float32 whatever dtype the model moves to; only its device follows."""

    mu: Tensor

    def register_mu(self, device: torch.device) -> None:
        """Add the buffer, 1 at first."""
        self.register_buffer("mu", torch.ones((), dtype=torch.float32, device=device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        mu = self.mu
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mu = mu.to(self.mu.device)
        return self
