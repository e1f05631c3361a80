"""Find how a backward quantizer depends on the sharpness, where that only scales it and its argument."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory.sampling.probe import Probe

_TRIALS = np.concatenate(
    [np.linspace(-6, 6, 601), *(side * np.geomspace(1e-3, 1e4, 200) for side in (-1, 1))]
)


@lru_cache(maxsize=1024)
def scaling_at(backward: Elementwise, mu: float) -> tuple[float, float, float]:
    """Return a sharpness ``m``, ``s`` and ``c`` with ``int_0^w B_mu = c int_0^(s w) B_m``.

    ``m`` is 1 where ``mu`` only scales ``B`` and its argument.
    """
    power = power_of(backward)
    if power is None:
        return mu, 1.0, 1.0
    inner = mu**power
    return 1.0, inner, _height(backward, power, mu) / inner


@lru_cache(maxsize=64)
def power_of(backward: Elementwise) -> int | None:
    """Find ``p`` with ``B_mu(w) = h(mu) B_1(mu^p w)``, as far as a few sharpnesses show; None without one."""
    at_one = Probe(backward, "backward", 1.0)(_TRIALS)
    for power in (1, 0, -1):
        for mu in (0.25, 2.0, 8.0, 64.0):  # powers of two are exact if B compares mu w with a number
            height = _height(backward, power, mu)
            found = Probe(backward, "backward", mu)(_TRIALS / mu**power)
            size = abs(height) * float(np.abs(at_one).max())
            if not (height > 0 and np.allclose(found, height * at_one, rtol=1e-6, atol=1e-9 * size)):
                break
        else:
            return power
    return None


def _height(backward: Elementwise, power: int, mu: float) -> float:
    """Compute ``h`` with ``B_mu(w) = h B_1(mu^p w)`` where ``B_1`` is highest."""
    at, before = _highest(backward)
    after = float(Probe(backward, "backward", mu)(np.array([at / mu**power]))[0])
    return after / before if before else 1.0


@lru_cache(maxsize=64)
def _highest(backward: Elementwise) -> tuple[float, float]:
    """Return a latent where ``|B_1|`` is largest, and ``B_1`` there."""
    values = Probe(backward, "backward", 1.0)(_TRIALS)
    at = int(np.argmax(np.abs(values)))
    return float(_TRIALS[at]), float(values[at])
