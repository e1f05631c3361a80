"""The shape of a pair of bare callables, found by sampling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers._structure import Trend
from proxconnect.theory._cuts import Cuts
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
_EPSILON = float(np.finfo(np.float64).eps)


def sampled_shape(pair: ForwardBackward, mu: float, domain: Interval) -> Shape:
    """The pair's shape on ``domain``, as far as samples show it."""
    forward, backward = Probe(pair.forward, "forward", mu), Probe(pair.backward, "backward", mu)
    unsteady = [probe.role for probe in (forward, backward) if not probe.steady(_trial(domain))]
    if unsteady:
        reason = f"{unsteady[0]} changes between calls with the same latents"
        unknowns = tuple(Unknown(n, domain.low, domain.high, reason) for n in (1, 2, 3, 4))
        evidence = Evidence("numeric", len(_trial(domain)), float(np.abs(_trial(domain)).max()), math.inf)
        return Shape(domain, (), (), forward, backward, 0.0, 0.0, _RELATIVE, evidence, unknowns)
    samples = sample(forward, backward, mu, domain)
    return _Builder(forward, backward, samples, domain).shape()


def _trial(domain: Interval) -> Array:
    low, high = max(domain.low, min(-8.0, domain.high - 16)), min(domain.high, max(8.0, domain.low + 16))
    return np.linspace(low, high, 1001)


@dataclass
class _Builder:
    forward: Probe
    backward: Probe
    samples: Samples
    domain: Interval

    def __post_init__(self) -> None:
        self.forward_noise = _FORWARD_NOISE * self.samples.scales[0]
        self.backward_noise = _BACKWARD_NOISE * self.samples.scales[1]

    def shape(self) -> Shape:
        ends = joints(self.forward, self.backward, self.samples, self.domain)
        stretches: list[Stretch] = []
        for left, right in itertools.pairwise(ends):
            stretches += self._chunk(left, right)
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
            _RELATIVE,
            Evidence(
                "numeric", self.samples.count, float(np.abs(self.samples.w).max()), self.samples.resolution
            ),
            tuple(Unknown(4, low, high, reason) for low, high in self.samples.unresolved),
        )

    def _chunk(self, left: Joint, right: Joint) -> list[Stretch]:
        """Stretches between two jumps, or ends of the domain."""
        (_, start, first), (last, end, _) = left, right
        w, f, b = self.samples.w, self.samples.forward, self.samples.backward
        inside = (w > max(start, first)) & (w < min(end, last))
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
            _RELATIVE,
        )
        inner = [cut for cut in cuts.of(w, f, b) if start < cut < end]
        inner = [cut for k, cut in enumerate(inner) if k == 0 or cut - inner[k - 1] > 1e-12 * abs(cut)]
        edges = [start, *inner, end]
        return [
            self._stretch(low, high, w, f, b, first if low == start else None, last if high == end else None)
            for low, high in itertools.pairwise(edges)
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
        inside = (w > start) & (w < end)
        ends = np.array([low if math.isfinite(low) else w[0], high if math.isfinite(high) else w[-1]])
        f_ends, b_ends = self.forward(ends), self.backward(ends)
        if inside.sum() >= _FEWEST:
            w, f, b = w[inside], f[inside], b[inside]
        else:
            w = np.linspace(ends[0], ends[1], _FEWEST + 2)[1:-1]
            f, b = self.forward(w), self.backward(w)
        change = float(f_ends[1] - f_ends[0])
        flat = is_flat(np.concatenate([ends, w]), np.concatenate([f_ends, f])) and not _strict(f)
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
        if largest <= self.backward_noise or unseen <= 4 * _EPSILON * float(np.abs(f).max()):
            return 0.0
        return middle if np.ptp(b) <= _RELATIVE * largest + self.backward_noise else None

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
            rounding = 16 * _EPSILON * (np.abs(f[len(a) :]) + np.abs(w[cells]) * np.abs(area / h))
        near = np.abs(growth - area) <= 1e-7 * np.abs(area) + rounding
        telling = np.abs(area) > 1e3 * rounding
        return bool(telling.sum() >= 8 and np.mean(near[telling]) > 0.99)


def _strict(f: Array) -> bool:
    steps = np.diff(f)
    return len(steps) >= 8 and bool((steps > 0).all() or (steps < 0).all())
