"""``int_0^w B`` by Gauss-Legendre quadrature between the latents at which ``B`` jumps or bends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.theory._probe import Probe
from proxconnect.theory._sampling import sample
from proxconnect.theory.verdict import Interval

_NODES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(5))
# Far enough for every tail, near enough for the length of a cell to stay finite.
_FARTHEST = 1e15
_LINE = Interval(-math.inf, math.inf, False, False)


@dataclass(frozen=True)
class Integral:
    """The forward quantizer ``F(w) = int_0^w B``, to about ten digits, computed in float64."""

    backward: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """``F(w)``, of the shape and dtype of ``w``."""
        edges, sums = (part.to(w.device) for part in _table(self.backward, float(mu)))
        latent = w.to(torch.float64).clamp(-_FARTHEST, _FARTHEST)
        cell = (torch.searchsorted(edges, latent.detach().contiguous(), right=True) - 1).clamp(
            0, len(edges) - 1
        )
        return (sums[cell] + _gauss(self.backward, edges[cell], latent, mu)).to(w.dtype)


def _gauss(function: Elementwise, start: Tensor, end: Tensor, mu: Sharpness) -> Tensor:
    half = 0.5 * (end - start)
    nodes = start.unsqueeze(-1) + half.unsqueeze(-1) * (_NODES.to(start.device) + 1)
    values: Tensor = function(nodes, mu) @ _WEIGHTS.to(start.device)
    return half * values


@lru_cache(maxsize=16)
def _table(backward: Elementwise, mu: float) -> tuple[Tensor, Tensor]:
    """Edges of cells in which ``B`` is smooth, and the integral from 0 up to each."""
    probe = Probe(backward, "backward", mu)
    if not probe.steady(np.linspace(-8.0, 8.0, 1001)):
        raise ProxConnectError(
            "backward changes between calls with the same latents and cannot be integrated"
        )
    samples = sample(probe, probe, mu, _LINE)
    if samples.unresolved:
        low, high = samples.unresolved[0]
        raise ProxConnectError(
            f"backward still bends at the sampling limit on [{low:.6g}, {high:.6g}] and cannot be "
            "integrated; expected a function that is smooth but for isolated jumps and kinks"
        )
    # The samples are dense enough around every bend for the rule to be exact to rounding.
    jumps = np.array(samples.jumps).reshape(-1)
    edges = torch.from_numpy(np.unique(np.concatenate([samples.w, [0.0], jumps])))
    parts = _gauss(backward, edges[:-1], edges[1:], mu).detach()
    zero = int(torch.searchsorted(edges, torch.zeros((), dtype=torch.float64)))
    below = -parts[:zero].flip(0).cumsum(0).flip(0)
    sums = torch.cat([below, parts.new_zeros(1), parts[zero:].cumsum(0)])
    return edges, sums
