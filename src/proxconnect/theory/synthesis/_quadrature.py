"""The integral of a backward quantizer by quadrature, in float64: the reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory._arrays import Array
from proxconnect.theory._cells import sums_from
from proxconnect.theory.criterion.ends import LINE, ends_at
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.runs import bisect
from proxconnect.theory.sampling.samples import sample

_NODES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(5))


@dataclass(frozen=True)
class Table:
    """Edges of cells in which ``B`` is smooth, and the integral from 0 up to each edge."""

    backward: Elementwise
    mu: float
    edges: Tensor
    sums: Tensor
    last_slopes: tuple[float, float]

    def quadrature(self, w: Tensor) -> Tensor:
        """Evaluate ``int_0^w B`` in float64; beyond the table ``B`` is constant."""
        edges, sums = self.edges.to(w.device), self.sums.to(w.device)
        inside = w.clamp(float(edges[0]), float(edges[-1]))
        cell = torch.searchsorted(edges, inside.detach().contiguous(), right=True) - 1
        cell = cell.clamp(0, len(edges) - 2)
        value = sums[cell] + _gauss(self.backward, edges[cell], inside, self.mu)
        for slope, beyond in zip(self.last_slopes, (w < inside, w > inside), strict=True):
            if slope:
                value = torch.where(beyond, value + slope * (w - inside), value)
        return value

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The limits of the integral far out on either side; infinite where it has none in floats."""
        return ends_at(lambda w, mu: self.quadrature(w), 1.0, LINE)


def _gauss(function: Elementwise, start: Tensor, end: Tensor, mu: float) -> Tensor:
    half = 0.5 * (end - start)
    nodes = start.unsqueeze(-1) + half.unsqueeze(-1) * (_NODES.to(start.device) + 1)
    values: Tensor = function(nodes, mu) @ _WEIGHTS.to(start.device)
    return half * values


@lru_cache(maxsize=16)
def table_of(backward: Elementwise, mu: float) -> Table:
    """Return the table of ``B`` at one sharpness.

    Raises:
        ProxConnectError: ``B`` cannot be integrated.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far out, nodes overflow
        return _tabulated(backward, mu)


def _tabulated(backward: Elementwise, mu: float) -> Table:
    probe = Probe(backward, "backward", mu)
    if not probe.steady(np.linspace(-8.0, 8.0, 1001)):
        raise ProxConnectError(
            "backward changes between calls with the same latents and cannot be integrated"
        )
    samples = sample(probe, probe, mu, LINE)
    if samples.unresolved:
        low, high = samples.unresolved[0]
        raise ProxConnectError(
            f"backward still bends at the sampling limit on [{low:.6g}, {high:.6g}] and cannot be "
            "integrated; expected a function that is smooth but for isolated jumps and kinks"
        )
    # The samples are dense enough around every bend for the rule to be exact to rounding.
    jumps = np.array(samples.jumps).reshape(-1)
    found = np.concatenate([samples.w, [0.0], jumps, _ends_of_zeros(probe, samples.w)])
    edges = torch.from_numpy(np.unique(found))
    parts = _gauss(backward, edges[:-1], edges[1:], mu).detach()
    zero = int(torch.searchsorted(edges, torch.zeros((), dtype=torch.float64, device="cpu")))
    sums = sums_from(zero, parts)
    finite = sums.isfinite()
    edges, sums = edges[finite], sums[finite]
    low, high = probe(edges[[0, -1]].numpy()).tolist()
    return Table(backward, mu, edges, sums, (low, high))


def _ends_of_zeros(probe: Probe, w: Array) -> Array:
    """Find the last latent with ``B = 0`` and the first without, at each end of a stretch of zeros."""
    zero = probe(w) == 0
    before = np.flatnonzero(zero[1:] != zero[:-1])
    ends = bisect(lambda x: probe(x) == 0, w[before], w[before + 1])
    return np.concatenate([np.nextafter(ends, -np.inf), ends, np.nextafter(ends, np.inf)])
