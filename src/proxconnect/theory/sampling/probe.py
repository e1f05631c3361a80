"""Evaluate a quantizer on float64 arrays, and refuse one that is not elementwise or not finite."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory._arrays import Array
from proxconnect.theory.sampling._precision import DOUBLE, inner_precision

_REVISITED = 512
_AT_ONCE = 2**16  # latents of one call, few enough for the processor's cache


class Probe:
    """``function(., mu)`` on float64 arrays.

    Args:
        function: forward or backward quantizer.
        role: its name in messages.
        mu: sharpness.

    ``precision`` is the type in which the function computes. It is float64 until :meth:`steady` finds it.
    """

    def __init__(self, function: Elementwise, role: str, mu: float) -> None:
        self.function = function
        self.role = role
        self.mu = mu
        self.precision = DOUBLE

    @property
    def epsilon(self) -> float:
        """Relative rounding error of the function's own precision."""
        return float(torch.finfo(self.precision).eps)

    @property
    def largest(self) -> float:
        """Largest number of the function's own precision."""
        return float(torch.finfo(self.precision).max)

    def __call__(self, w: Array) -> Array:
        """Evaluate at ``w``.

        Raises:
            ProxConnectError: a value is not finite.
        """
        values = self.unguarded(w)
        finite = np.isfinite(values)
        if not finite.all():
            at = int(np.argmin(finite))
            raise ProxConnectError(self._not_finite(float(w[at]), float(values[at])))
        return values

    def _not_finite(self, at: float, value: float) -> str:
        found = f"{self.role} is {value} at w = {at:.6g}, mu = {self.mu:g}"
        size = max(abs(at), 1e-6)
        for side in (1.0, -1.0):
            far, middle, near = np.abs(self.unguarded(at + side * size * np.array([1e-2, 1e-4, 1e-6])))
            if all(map(math.isfinite, (far, middle, near))) and near > 1.2 * middle > 1.44 * far:
                what = (
                    "the slope is infinite there"
                    if self.role in ("backward", "derivative")
                    else "it has a pole there"
                )
                return f"{found}, and grows without bound next to it: {what}; expected a finite value"
        return (
            f"{found}; expected a finite value on the whole domain: write it in a form that does not "
            "overflow, or give a smaller domain"
        )

    def unguarded(self, w: Array) -> Array:
        """Evaluate at ``w``, finite or not; the function gets copies of ``w`` and no empty tensor."""
        values = np.empty(len(w))
        parts = max(1, math.ceil(len(w) / _AT_ONCE))
        size = max(1, math.ceil(len(w) / parts))
        for start in range(0, len(w), size):
            some = slice(start, start + size)
            values[some] = self._call(w[some])
        return values

    def _call(self, w: Array) -> Array:
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
        if values.shape != argument.shape or values.is_complex():
            raise ProxConnectError(
                f"{self.role} turns a tensor of shape {tuple(argument.shape)} and {argument.dtype} into one "
                f"of shape {tuple(values.shape)} and {values.dtype}; expected a real value for each "
                "latent: it must act elementwise"
            )
        found: Array = values.detach().to(torch.float64).numpy()
        return found

    def steady(self, w: Array) -> bool:
        """Return True if a second call gives the same values; also find the precision of the function.

        Raises:
            ProxConnectError: a value depends on the latents beside it.
        """
        values = self.unguarded(w)
        if not np.array_equal(values, self.unguarded(w), equal_nan=True):
            return False
        self.precision = inner_precision(self.unguarded, self.mu)
        self._refuse_dependence(w[::-1], values[::-1])
        # One order of magnitude at a time: a function of the whole tensor depends on its largest entry, its
        # mean or its length, and these differ from part to part.
        with np.errstate(divide="ignore"):
            decade = np.floor(np.log10(np.abs(w)))
        for chosen in np.unique(decade):
            self._refuse_dependence(w[decade == chosen], values[decade == chosen])
        for k in range(0, len(w), max(1, len(w) // 16)):
            self._refuse_dependence(w[k : k + 1], values[k : k + 1])
        return True

    def revisit(self, w: Array, values: Array) -> None:
        """Refuse a function whose values at ``w`` differ from those it had among more latents."""
        some = slice(None, None, max(1, len(w) // _REVISITED))
        self._refuse_dependence(w[some], values[some])

    def _refuse_dependence(self, w: Array, expected: Array) -> None:
        again = self.unguarded(w)
        if (again == expected).all():
            return
        # Vectorised and scalar code paths may differ in the last digits.
        relative, absolute = max(1e-9, 4 * self.epsilon), max(1e-12, self.epsilon)
        same = np.isclose(again, expected, rtol=relative, atol=absolute, equal_nan=True)
        if not same.all():
            at = int(np.argmin(same))
            raise ProxConnectError(
                f"{self.role} is not elementwise: at w = {w[at]:.6g} it is {expected[at]:.6g} or "
                f"{again[at]:.6g}, depending on the other latents of the tensor; expected a function of "
                "w alone"
            )
