"""The forward quantizer ``int B``: by quadrature in float64, and from a table in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.theory._arrays import Array
from proxconnect.theory._cells import sums_from
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.runs import bisect
from proxconnect.theory.sampling.samples import sample
from proxconnect.theory.synthesis._lookup import Lookup

_NODES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(5))
_LINE = Interval(-math.inf, math.inf, False, False)
_FAR, _BOUNDED = 1e30, 1e6


@dataclass(frozen=True)
class Integral:
    """The forward quantizer ``F(w) = c + int_0^w B``, whose middle is that of ``centre``.

    In float64 it has about ten digits, and it is constant exactly where ``B`` is 0. In narrower types it
    comes from a table and has about six digits of the latent. ``c`` is 0 unless both the integral and
    ``centre`` are bounded.

    Args:
        backward: ``B``.
        centre: the forward quantizer that this one replaces.
    """

    backward: Elementwise
    centre: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Evaluate ``F(w)``, of the shape and dtype of ``w``."""
        mu = float(mu)
        inner, factor = _scaling(self.backward, mu)
        shift = _shift(self.backward, self.centre, mu)
        table = _table(self.backward, mu if inner is None else 1.0)
        scaled = w if inner is None or inner == 1 else w * inner
        if w.dtype == torch.float64 or (w.requires_grad and torch.is_grad_enabled()):
            value = table.quadrature(scaled.to(torch.float64))
            return (value * factor + shift).to(w.dtype)
        value = table.lookup()(scaled)
        return value if factor == 1 and shift == 0 else value.mul_(factor).add_(shift)


def _scaling(backward: Elementwise, mu: float) -> tuple[float | None, float]:
    """Find ``s`` and ``c`` with ``int_0^w B_mu = c int_0^(s w) B_1``; ``s`` is None if there are none."""
    kind = _kind(backward)
    return {"mu w": (mu, 1.0), "mu w / mu": (mu, 1 / mu), "w": (1.0, 1.0)}.get(kind, (None, 1.0))


@lru_cache(maxsize=64)
def _kind(backward: Elementwise) -> str:
    """Find how ``B`` depends on ``mu``, as far as a few sharpnesses show."""
    u = torch.linspace(-6, 6, 601, dtype=torch.float64, device="cpu")
    at_one = Probe(backward, "backward", 1.0)(u.numpy())
    candidates = {"mu w": (True, True), "mu w / mu": (True, False), "w": (False, False)}
    for kind, (inside, outside) in candidates.items():
        for mu in (0.25, 2.0, 8.0, 64.0):  # powers of two are exact if B compares mu w with a number
            w = (u / mu if inside else u).numpy()
            expected = at_one * (mu if outside else 1.0)
            if not np.allclose(Probe(backward, "backward", mu)(w), expected, rtol=1e-6, atol=1e-9 * mu):
                break
        else:
            return kind
    return ""


@lru_cache(maxsize=256)
def _shift(backward: Elementwise, centre: Elementwise, mu: float) -> float:
    """Find the constant that gives the integral and the levels of ``centre`` the same middle."""
    inner, factor = _scaling(backward, mu)
    low, high = _table(backward, mu if inner is None else 1.0).ends
    levels = Probe(centre, "forward", mu).unguarded(np.array([-_FAR, _FAR]))
    size = factor * (high - low)
    if not (np.abs(levels) < _BOUNDED).all() or not 0 < size < _BOUNDED:
        return 0.0
    shift = float(levels.mean()) - factor * (low + high) / 2
    return shift if abs(shift) > 1e-9 * size else 0.0


@dataclass(frozen=True)
class _Table:
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
        """Integral far out on either side."""
        low, high = self.quadrature(torch.tensor([-_FAR, _FAR], dtype=torch.float64, device="cpu")).tolist()
        return low, high

    def lookup(self) -> Lookup:
        """Return the table for training."""
        return _lookup(self.backward, self.mu)


@lru_cache(maxsize=16)
def _lookup(backward: Elementwise, mu: float) -> Lookup:
    return Lookup.of(_table(backward, mu).quadrature)


def _gauss(function: Elementwise, start: Tensor, end: Tensor, mu: float) -> Tensor:
    half = 0.5 * (end - start)
    nodes = start.unsqueeze(-1) + half.unsqueeze(-1) * (_NODES.to(start.device) + 1)
    values: Tensor = function(nodes, mu) @ _WEIGHTS.to(start.device)
    return half * values


@lru_cache(maxsize=16)
def _table(backward: Elementwise, mu: float) -> _Table:
    with np.errstate(over="ignore", invalid="ignore"):  # far out, nodes overflow
        return _tabulated(backward, mu)


def _tabulated(backward: Elementwise, mu: float) -> _Table:
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
    found = np.concatenate([samples.w, [0.0], jumps, _ends_of_zeros(probe, samples.w)])
    edges = torch.from_numpy(np.unique(found))
    parts = _gauss(backward, edges[:-1], edges[1:], mu).detach()
    zero = int(torch.searchsorted(edges, torch.zeros((), dtype=torch.float64, device="cpu")))
    sums = sums_from(zero, parts)
    finite = sums.isfinite()
    edges, sums = edges[finite], sums[finite]
    low, high = probe(edges[[0, -1]].numpy()).tolist()
    return _Table(backward, mu, edges, sums, (low, high))


def _ends_of_zeros(probe: Probe, w: Array) -> Array:
    """Find the last latent with ``B = 0`` and the first without, at each end of a stretch of zeros."""
    zero = probe(w) == 0
    before = np.flatnonzero(zero[1:] != zero[:-1])
    ends = bisect(lambda x: probe(x) == 0, w[before], w[before + 1])
    return np.concatenate([np.nextafter(ends, -np.inf), ends, np.nextafter(ends, np.inf)])
