"""The shape of a pair of bare callables, found by sampling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers._structure import Trend
from proxconnect.theory._cuts import Cuts
from proxconnect.theory._fading import visible
from proxconnect.theory._joints import Joint, is_unbounded, joints
from proxconnect.theory._probe import Probe
from proxconnect.theory._runs import is_flat
from proxconnect.theory._sampling import Samples, sample
from proxconnect.theory._shape import Array, Point, Shape, Stretch, Unknown
from proxconnect.theory.verdict import Evidence, Interval

_FORWARD_NOISE = 1e-12
_BACKWARD_NOISE = 1e-6
_RELATIVE = 1e-6
_UNBOUNDED = 1e3
_FEWEST = 16
_ROUNDINGS = 8
_MOST_EDGES = 300


def sampled_shape(
    pair: ForwardBackward, mu: float, domain: Interval, roles: tuple[str, str] = ("forward", "backward")
) -> Shape:
    """The pair's shape on ``domain``, as far as samples show it; ``roles`` is how messages call the two."""
    forward, backward = Probe(pair.forward, roles[0], mu), Probe(pair.backward, roles[1], mu)
    for trial in _trials(domain):
        unsteady = [probe.role for probe in (forward, backward) if not probe.steady(trial)]
        if unsteady:
            reason = f"{unsteady[0]} changes between calls with the same latents"
            unknowns = tuple(Unknown(n, domain.low, domain.high, reason) for n in (1, 2, 3, 4))
            evidence = Evidence("numeric", len(trial), 0.0, math.inf)
            return Shape(domain, (), (), forward, backward, 0.0, 0.0, _RELATIVE, evidence, unknowns)
    with np.errstate(over="ignore", invalid="ignore"):  # far out, differences and products overflow
        samples = visible(forward, backward, sample(forward, backward, mu, domain))
        return _Builder(forward, backward, samples, samples.reached).shape()


def _trials(domain: Interval) -> tuple[Array, Array]:
    """Latents for a first acquaintance: around 0, and of every magnitude."""
    low, high = max(domain.low, min(-8.0, domain.high - 16)), min(domain.high, max(8.0, domain.low + 16))
    size = np.geomspace(1e-9, 1e308, 8 * 317)
    wide = np.concatenate([-size[::-1], size])
    wide = wide[(wide >= domain.low) & (wide <= domain.high)]
    near = np.linspace(low, high, 1001)
    return near, wide if len(wide) else near


@dataclass(frozen=True)
class _Chunk:
    """Samples between two jumps; ``first`` and ``last`` are the latents next to them."""

    w: Array
    forward: Array
    backward: Array
    edges: tuple[float, ...]
    first: float
    last: float


@dataclass
class _Builder:
    forward: Probe
    backward: Probe
    samples: Samples
    domain: Interval

    def __post_init__(self) -> None:
        of_forward, of_backward = _ROUNDINGS * self.forward.epsilon, _ROUNDINGS * self.backward.epsilon
        self.forward_noise = max(_FORWARD_NOISE, of_forward) * self.samples.scales[0]
        self.backward_noise = max(_BACKWARD_NOISE, of_backward) * self.samples.scales[1]
        self.relative = max(_RELATIVE, of_backward)

    def shape(self) -> Shape:
        ends = joints(self.forward, self.backward, self.samples, self.domain)
        chunks = [self._chunk(left, right) for left, right in itertools.pairwise(ends)]
        fewer = self._fewer([cut for chunk in chunks for cut in chunk.edges[1:]])
        if fewer is not self.samples:
            return _Builder(self.forward, self.backward, fewer, fewer.reached).shape()
        stretches = [stretch for chunk in chunks for stretch in self._stretches(chunk)]
        at = [stretches[0].start, *(stretch.end for stretch in stretches)]
        finite = np.array([w for w in at if math.isfinite(w)])
        values = dict(
            zip(finite.tolist(), zip(self.forward(finite), self.backward(finite), strict=True), strict=True)
        )
        points = tuple(Point(w, *map(float, values[w])) if w in values else None for w in at)
        reason = "F or B still bends at the sampling limit"
        return Shape(
            self.domain,
            tuple(stretches),
            points,
            self.forward,
            self.backward,
            self.forward_noise,
            self.backward_noise,
            self.relative,
            Evidence(
                "numeric",
                self.samples.count,
                float(np.abs(self.samples.w).max()),
                self.samples.resolution,
                self.domain,
                self.samples.beyond,
            ),
            tuple(Unknown(4, low, high, reason) for low, high in self.samples.unresolved),
        )

    def _fewer(self, edges: list[float]) -> Samples:
        """The samples around 0 in which the pair does not change its ways more often than can be followed."""
        reason = "F or B changes its ways more often than is followed"
        samples = self.samples
        for sign in (1.0, -1.0):
            outward = sorted(sign * edge for edge in edges if 0 < sign * edge < math.inf)
            if len(outward) > _MOST_EDGES:
                end = sign * outward[_MOST_EDGES]
                samples = samples.cut(*((-math.inf, end) if sign > 0 else (end, math.inf)), reason)
        return samples

    def _chunk(self, left: Joint, right: Joint) -> _Chunk:
        """The samples between two jumps, or ends of the domain, and where to cut them."""
        (_, start, first), (last, end, _) = left, right
        w = self.samples.w
        inside = slice(
            int(np.searchsorted(w, max(start, first), side="right")),
            int(np.searchsorted(w, min(end, last), side="left")),
        )
        f, b = self.samples.forward, self.samples.backward
        limits = np.array([value for value in (first, last) if math.isfinite(value)])
        w = np.concatenate([w[inside], limits])
        f = np.concatenate([f[inside], self.forward(limits)])
        b = np.concatenate([b[inside], self.backward(limits)])
        w, unique = np.unique(w, return_index=True)
        f, b = f[unique], b[unique]
        cuts = Cuts(
            self.forward,
            self.backward,
            self.forward_noise,
            self.backward_noise,
            self.samples.scales[1],
            self.relative,
        )
        inner = [cut for cut in cuts.of(w, f, b) if start < cut < end]
        inner = [cut for k, cut in enumerate(inner) if k == 0 or cut - inner[k - 1] > 1e-12 * abs(cut)]
        return _Chunk(w, f, b, (start, *inner, end), first, last)

    def _stretches(self, chunk: _Chunk) -> list[Stretch]:
        w, f, b = chunk.w, chunk.forward, chunk.backward
        start, end = chunk.edges[0], chunk.edges[-1]
        return [
            self._stretch(
                low,
                high,
                w,
                f,
                b,
                chunk.first if low == start else None,
                chunk.last if high == end else None,
            )
            for low, high in itertools.pairwise(chunk.edges)
        ]

    def _stretch(
        self,
        start: float,
        end: float,
        w: Array,
        f: Array,
        b: Array,
        first: float | None,
        last: float | None,
    ) -> Stretch:
        """One stretch; ``first`` and ``last`` are the latents whose values stand for its limits at jumps."""
        low = start if first is None else first
        high = end if last is None else last
        inside = slice(
            int(np.searchsorted(w, start, side="right")), int(np.searchsorted(w, end, side="left"))
        )
        ends = np.array([low if math.isfinite(low) else w[0], high if math.isfinite(high) else w[-1]])
        f_ends, b_ends = self.forward(ends), self.backward(ends)
        if inside.stop - inside.start >= _FEWEST:
            w, f, b = w[inside], f[inside], b[inside]
        else:
            w = np.linspace(ends[0], ends[1], _FEWEST + 2)[1:-1]
            f, b = self.forward(w), self.backward(w)
        change = float(f_ends[1] - f_ends[0])
        level = is_flat(np.concatenate([ends, w]), np.concatenate([f_ends, f]), self.forward.epsilon)
        flat = level and not _strict(f)
        trend: Trend = "flat" if flat else "rising" if change >= 0 else "falling"
        limits = [float(v) for v in b_ends]
        for k, (at, beside) in enumerate(((start, first), (end, last))):
            large = abs(limits[k]) > _UNBOUNDED * self.samples.scales[1]
            if large and beside is not None and is_unbounded(self.backward, at, beside):
                limits[k] = math.copysign(math.inf, limits[k])
        sign = int(np.sign(b[np.argmax(np.abs(b))]))
        constant = self._constant(w, b, f) if flat or np.ptp(b) == 0 else None
        if constant is not None:
            sign = int(np.sign(constant))
            limits = [constant, constant]
        return Stretch(
            start,
            end,
            trend,
            (float(f_ends[0]), float(f_ends[1])),
            sign,
            (limits[0], limits[1]),
            constant,
            not flat and constant is None and self._is_derivative(w),
            (float(w[np.argmin(b)]), float(w[np.argmax(b)])),
        )

    def _constant(self, w: Array, b: Array, f: Array) -> float | None:
        middle = float(0.5 * (b.max() + b.min()))
        if np.ptp(b) == 0:
            return middle
        largest = float(np.abs(b).max())
        unseen = float(np.sum(np.abs(b[1:] + b[:-1]) / 2 * np.diff(w)))
        # A slope so small that F would not show it cannot contradict F's being flat.
        if largest <= self.backward_noise or unseen <= 4 * self.forward.epsilon * float(np.abs(f).max()):
            return 0.0
        return middle if np.ptp(b) <= self.relative * largest + self.backward_noise else None

    def _is_derivative(self, w: Array) -> bool:
        """Whether ``B = F'``: the growth of ``F`` over cells against the integral of ``B``."""
        cells = np.unique(np.linspace(0, len(w) - 2, 1024).astype(int))
        a, h = w[cells], np.diff(w)[cells]
        nodes, weights = np.polynomial.legendre.leggauss(5)
        x = a[:, None] + h[:, None] * (nodes + 1) / 2
        area = (self.backward(x.reshape(-1)).reshape(x.shape) * weights).sum(axis=1) * h / 2
        f = self.forward(np.concatenate([a, a + h]))
        growth = f[len(a) :] - f[: len(a)]
        with np.errstate(over="ignore"):
            rounding = 16 * self.forward.epsilon * (np.abs(f[len(a) :]) + np.abs(w[cells]) * np.abs(area / h))
        near = np.abs(growth - area) <= 1e-7 * np.abs(area) + rounding
        telling = np.abs(area) > 1e3 * rounding
        return bool(telling.sum() >= 8 and np.mean(near[telling]) > 0.99)


def _strict(f: Array) -> bool:
    steps = np.diff(f)
    return len(steps) >= 8 and bool((steps > 0).all() or (steps < 0).all())
