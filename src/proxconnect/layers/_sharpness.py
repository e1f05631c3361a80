"""Modules with a sharpness ``mu`` of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Sharp(nn.Module):
    """A module with the buffer ``mu``, which follows the device of the model but is always float32.

    The buffer ``mu_squared`` stands beside it and shows whether ``mu`` is an average: the mean of squares is
    not the square of the mean. It is 0 until :meth:`set_mu` is called.
    """

    mu: Tensor
    mu_squared: Tensor

    def register_mu(self, device: torch.device) -> None:
        """Add the buffers; ``mu`` starts at 1."""
        self.register_buffer("mu", torch.ones((), dtype=torch.float32, device=device))
        self.register_buffer("mu_squared", torch.zeros((), dtype=torch.float32, device=device))

    def set_mu(self, mu: float) -> None:
        """Set the sharpness, as schedules do."""
        self.mu.fill_(mu)
        self.mu_squared.fill_(mu * mu)

    def has_averaged_mu(self) -> bool:
        """Tell whether ``mu`` is an average of several values, as when the buffers of models are averaged."""
        mu, squared = self.mu.item(), self.mu_squared.item()
        return squared > 0 and abs(squared - mu * mu) > 1e-3 * max(squared, mu * mu)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = {"mu": self.mu, "mu_squared": self.mu_squared}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            setattr(self, name, buffer.to(self.mu.device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        if f"{prefix}mu" in state_dict:  # states of earlier releases have it alone
            state_dict.setdefault(f"{prefix}mu_squared", torch.zeros_like(self.mu_squared))
        super()._load_from_state_dict(state_dict, prefix, *others)
