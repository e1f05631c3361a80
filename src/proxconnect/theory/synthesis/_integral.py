"""The forward quantizer ``int B``: by quadrature in float64, and from a table in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.theory._arrays import Array
from proxconnect.theory._cells import sums_from
from proxconnect.theory.criterion.ends import LINE, ends_at
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.runs import bisect
from proxconnect.theory.sampling.samples import sample
from proxconnect.theory.synthesis._lookup import Lookup

_NODES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(5))
_TRIALS = np.concatenate(
    [np.linspace(-6, 6, 601), *(side * np.geomspace(1e-3, 1e4, 200) for side in (-1, 1))]
)


@dataclass(frozen=True)
class Integral:
    """The forward quantizer ``F(w) = c + int_0^w B``, whose middle is that of ``centre``.

    In float64 it has about ten digits, and it is constant exactly where ``B`` is 0. In narrower types it
    comes from a table and has about six digits of the latent. ``c`` is 0 unless both the integral and
    ``centre`` are bounded. Where ``B_mu(w) = h(mu) B_1(mu^p w)`` for ``p`` 1, 0 or -1, one table serves
    every ``mu``.

    Args:
        backward: ``B``.
        centre: the forward quantizer that this one replaces.
    """

    backward: Elementwise
    centre: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Evaluate ``F(w)``, of the shape and dtype of ``w``."""
        return self.on_line(w, float(mu), 0.0, 1.0)

    def on_line(self, w: Tensor, mu: float, a: float, c: float) -> Tensor:
        """Evaluate ``a + c F(w)`` in as many passes over memory as ``F(w)``."""
        table, inner, factor, shift = self.parts(mu)
        factor, shift = c * factor, a + c * shift
        scaled = w if inner == 1 else w * inner
        if w.dtype == torch.float64 or (w.requires_grad and torch.is_grad_enabled()):
            value = table.quadrature(scaled.to(torch.float64))
            return (value * factor + shift).to(w.dtype)
        value = table.lookup()(scaled)
        return value if factor == 1 and shift == 0 else value.mul_(factor).add_(shift)

    def parts(self, mu: float) -> tuple[Table, float, float, float]:
        """Return a table ``I``, ``s``, ``c`` and ``d`` with ``F(w) = c I(s w) + d``."""
        table, inner, factor = _integral(self.backward, mu)
        return table, inner, factor, _shift(self, mu)

    def ends(self, mu: float) -> tuple[float, float]:
        """Return the limits of ``F`` far out on either side."""
        table, _, factor, shift = self.parts(mu)
        low, high = table.ends
        return factor * low + shift, factor * high + shift


def _integral(backward: Elementwise, mu: float) -> tuple[Table, float, float]:
    """Return a table ``I``, ``s`` and ``c`` with ``int_0^w B_mu = c I(s w)``."""
    power = _power(backward)
    if power is None:
        return _table(backward, mu), 1.0, 1.0
    inner = mu**power
    return _table(backward, 1.0), inner, _height(backward, power, mu) / inner


@lru_cache(maxsize=64)
def _power(backward: Elementwise) -> int | None:
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


@lru_cache(maxsize=1024)
def _height(backward: Elementwise, power: int, mu: float) -> float:
    """Compute ``h`` with ``B_mu(w) = h B_1(mu^p w)`` where ``B_1`` is highest."""
    at_one = np.abs(Probe(backward, "backward", 1.0)(_TRIALS))
    highest = _TRIALS[[int(np.argmax(at_one))]]
    before = float(Probe(backward, "backward", 1.0)(highest)[0])
    after = float(Probe(backward, "backward", mu)(highest / mu**power)[0])
    return after / before if before else 1.0


@lru_cache(maxsize=256)
def _shift(integral: Integral, mu: float) -> float:
    """Find the constant that gives the integral the middle of the quantizer that it replaces."""
    table, _, factor = _integral(integral.backward, mu)
    low, high = (factor * end for end in table.ends)
    levels = ends_at(integral.centre, mu, LINE)
    if not np.isfinite([low, high, *levels]).all() or not low < high:
        return 0.0
    shift = (levels[0] + levels[1]) / 2 - (low + high) / 2
    return shift if abs(shift) > 1e-9 * (high - low) else 0.0


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
def _table(backward: Elementwise, mu: float) -> Table:
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
