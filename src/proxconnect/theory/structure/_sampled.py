"""Find the structure of a pair that declares nothing, by sampling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from proxconnect.quantizers import ForwardBackward
from proxconnect.theory._arrays import Array
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling.fading import visible
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.samples import Samples, sample
from proxconnect.theory.structure._cuts import Cuts
from proxconnect.theory.structure._jumps import Joint, joints
from proxconnect.theory.structure._pair import RELATIVE, SampledPair
from proxconnect.theory.structure._saturation import saturated, unknowns, with_rounded
from proxconnect.theory.structure._stretches import stretch_of
from proxconnect.theory.structure.evidence import Evidence
from proxconnect.theory.structure.structure import Point, Stretch, Structure, Unknown

_MOST_EDGES = 300


def sampled_structure(
    pair: ForwardBackward, mu: float, domain: Interval, roles: tuple[str, str] = ("forward", "backward")
) -> Structure:
    """Find the pair's structure on ``domain``, as far as samples show it.

    Args:
        pair: forward and backward quantizer.
        mu: sharpness.
        domain: the interval to sample.
        roles: the names of both quantizers in messages.

    Raises:
        ProxConnectError: a quantizer fails, is not elementwise, is not finite or changes shape or dtype.
    """
    forward, backward = Probe(pair.forward, roles[0], mu), Probe(pair.backward, roles[1], mu)
    for trial in _trials(domain):
        unsteady = [probe.role for probe in (forward, backward) if not probe.steady(trial)]
        if unsteady:
            reason = f"{unsteady[0]} changes between calls with the same latents"
            unknowns = tuple(Unknown(n, domain.low, domain.high, reason) for n in (1, 2, 3, 4))
            evidence = Evidence("numeric", len(trial), 0.0, math.inf)
            return Structure(domain, (), (), forward, backward, 0.0, 0.0, RELATIVE, evidence, unknowns)
    with np.errstate(over="ignore", invalid="ignore"):  # far out, differences and products overflow
        samples = visible(forward, backward, sample(forward, backward, mu, domain))
        return _structure(SampledPair.of(forward, backward, samples.scales), samples)


def _trials(domain: Interval) -> tuple[Array, Array]:
    """Choose the latents of the first calls: evenly spread near 0, then of every magnitude."""
    low, high = max(domain.low, min(-8.0, domain.high - 16)), min(domain.high, max(8.0, domain.low + 16))
    size = np.geomspace(1e-9, 1e308, 8 * 317)
    wide = np.concatenate([-size[::-1], size])
    wide = wide[(wide >= domain.low) & (wide <= domain.high)]
    near = np.linspace(low, high, 1001)
    return near, wide if len(wide) else near


def _structure(pair: SampledPair, samples: Samples) -> Structure:
    """Cut the samples at jumps, ends of flats, changes of sign and turning points."""
    ends = joints(pair.forward, pair.backward, samples, samples.reached)
    chunks = [_chunk(pair, samples, left, right) for left, right in itertools.pairwise(ends)]
    fewer = _fewer(samples, [cut for chunk in chunks for cut in chunk.edges[1:]])
    if fewer is not samples:
        return _structure(pair, fewer)
    stretches = with_rounded(pair, tuple(stretch for chunk in chunks for stretch in chunk.stretches(pair)))
    nearer = saturated(pair, stretches, samples)
    if nearer is not samples:
        return _structure(pair, nearer)
    reason = "F or B still bends at the sampling limit"
    return Structure(
        samples.reached,
        stretches,
        _points(pair, [stretches[0].start, *(stretch.end for stretch in stretches)]),
        pair.forward,
        pair.backward,
        pair.forward_noise,
        pair.backward_noise,
        pair.relative,
        Evidence(
            "numeric",
            samples.count,
            float(np.abs(samples.w).max()),
            samples.resolution,
            samples.reached,
            samples.beyond,
        ),
        (*(Unknown(4, *ends, reason) for ends in samples.unresolved), *unknowns(pair, stretches)),
    )


def _points(pair: SampledPair, at: list[float]) -> tuple[Point | None, ...]:
    """Evaluate the pair at the finite ones of the given latents."""
    finite = np.array([w for w in at if math.isfinite(w)])
    forward, backward = pair.forward(finite).tolist(), pair.backward(finite).tolist()
    values = dict(zip(finite.tolist(), zip(forward, backward, strict=True), strict=True))
    return tuple(Point(w, *values[w]) if w in values else None for w in at)


def _fewer(samples: Samples, edges: list[float]) -> Samples:
    """Keep the samples around 0 that hold no more than ``_MOST_EDGES`` edges on either side."""
    reason = "F or B changes its ways more often than is followed"
    for sign in (1.0, -1.0):
        outward = sorted(sign * edge for edge in edges if 0 < sign * edge < math.inf)
        if len(outward) > _MOST_EDGES:
            end = sign * outward[_MOST_EDGES]
            samples = samples.cut(*((-math.inf, end) if sign > 0 else (end, math.inf)), reason)
    return samples


@dataclass(frozen=True)
class _Chunk:
    """Samples between two jumps; ``first`` and ``last`` are the latents next to the jumps."""

    w: Array
    forward: Array
    backward: Array
    edges: tuple[float, ...]
    first: float
    last: float

    def stretches(self, pair: SampledPair) -> list[Stretch]:
        """Describe the pair between neighbouring edges."""
        start, end = self.edges[0], self.edges[-1]
        return [
            stretch_of(
                pair,
                low,
                high,
                (self.w, self.forward, self.backward),
                self.first if low == start else None,
                self.last if high == end else None,
            )
            for low, high in itertools.pairwise(self.edges)
        ]


def _chunk(pair: SampledPair, samples: Samples, left: Joint, right: Joint) -> _Chunk:
    """Take the samples between two jumps, or ends of the domain, and find the latents to cut them at."""
    (_, start, first), (last, end, _) = left, right
    w = samples.w
    inside = slice(
        int(np.searchsorted(w, max(start, first), side="right")),
        int(np.searchsorted(w, min(end, last), side="left")),
    )
    limits = np.array([value for value in (first, last) if math.isfinite(value)])
    w = np.concatenate([w[inside], limits])
    f = np.concatenate([samples.forward[inside], pair.forward(limits)])
    b = np.concatenate([samples.backward[inside], pair.backward(limits)])
    w, unique = np.unique(w, return_index=True)
    f, b = f[unique], b[unique]
    inner = [cut for cut in Cuts(pair).of(w, f, b) if start < cut < end]
    inner = [cut for k, cut in enumerate(inner) if k == 0 or cut - inner[k - 1] > 1e-12 * abs(cut)]
    return _Chunk(w, f, b, (start, *inner, end), first, last)
