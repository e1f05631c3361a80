"""A quantizer as a function of float64 arrays, refused where it is not an elementwise, finite one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory._shape import Array


class Probe:
    """``function(., mu)`` on float64 arrays."""

    def __init__(self, function: Elementwise, role: str, mu: float) -> None:
        self.function = function
        self.role = role
        self.mu = mu

    def __call__(self, w: Array) -> Array:
        """Values at ``w``, all of them finite."""
        values = self.unguarded(w)
        finite = np.isfinite(values)
        if not finite.all():
            at = int(np.argmin(finite))
            raise ProxConnectError(
                f"{self.role} is {values[at]} at w = {w[at]:.6g}, mu = {self.mu:g}; expected a finite value "
                "on the whole domain: write it in a form that does not overflow, or give a smaller domain"
            )
        return values

    def unguarded(self, w: Array) -> Array:
        """Values at ``w``, finite or not."""
        argument = torch.from_numpy(np.array(w, dtype=np.float64))
        try:
            with torch.no_grad():
                values = self.function(argument, self.mu)
        except Exception as error:
            raise ProxConnectError(
                f"{self.role} fails on a float64 tensor of shape {tuple(argument.shape)}, mu = {self.mu:g} "
                f"({type(error).__name__}: {error}); expected an elementwise callable (w, mu) -> tensor"
            ) from error
        if not isinstance(values, Tensor):
            raise ProxConnectError(
                f"{self.role} returns {type(values).__name__}; expected an elementwise callable "
                "(w, mu) -> tensor"
            )
        if values.shape != argument.shape or values.dtype != argument.dtype:
            raise ProxConnectError(
                f"{self.role} turns a tensor of shape {tuple(argument.shape)} and {argument.dtype} into one "
                f"of shape {tuple(values.shape)} and {values.dtype}; expected the same: it must act "
                "elementwise"
            )
        return values.detach().numpy().copy()

    def steady(self, w: Array) -> bool:
        """Whether a second call gives the same values.

        Raises:
            ProxConnectError: a value depends on the latents beside it.
        """
        values = self.unguarded(w)
        if not np.array_equal(values, self.unguarded(w), equal_nan=True):
            return False
        part = slice(len(w) // 3, 2 * len(w) // 3)
        for other, chosen in ((self.unguarded(w[::-1])[::-1], slice(None)), (self.unguarded(w[part]), part)):
            expected = values[chosen]
            # Vectorised and scalar code paths may differ in the last digits.
            same = np.isclose(other, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
            if not same.all():
                at = int(np.argmin(same))
                raise ProxConnectError(
                    f"{self.role} is not elementwise: at w = {w[chosen][at]:.6g} it is {expected[at]:.6g} or "
                    f"{other[at]:.6g}, depending on the other latents of the tensor; expected a function of "
                    "w alone"
                )
        return True
