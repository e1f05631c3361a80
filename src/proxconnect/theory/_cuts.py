"""Where a pair that does not jump changes its ways: ends of flats, changes of sign, turning points."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from proxconnect.theory._probe import Probe
from proxconnect.theory._runs import Run, bisect, flat_runs, sign_runs, touching_zeros, turning_points
from proxconnect.theory._shape import Array, Flags

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Cuts:
    """The latents between which ``F`` has one trend and ``B`` one sign.

    Args:
        forward: ``F``.
        backward: ``B``.
        forward_noise: differences of ``F`` up to this mean nothing.
        backward_noise: differences of ``B`` up to this mean nothing.
        backward_scale: how large ``B`` is where it matters.
        relative: differences of ``B`` that are smaller than this times its values mean nothing either.
    """

    forward: Probe
    backward: Probe
    forward_noise: float
    backward_noise: float
    backward_scale: float
    relative: float

    def of(self, w: Array, f: Array, b: Array) -> list[float]:
        """Cuts of a continuous stretch with increasing latents ``w``, in increasing order."""
        flats = flat_runs(w, f)
        cuts = {*self._flat_ends(w, f, b, flats), *self._cuts_of_sign(w, f, b)}
        cuts |= set(turning_points(self.forward, w, f, flats, self.forward_noise))
        cuts |= set(touching_zeros(self.backward, w, b, flats, self.backward_noise))
        return sorted(cuts)

    def _flat_ends(self, w: Array, f: Array, b: Array, flats: list[Run]) -> list[float]:
        ends = []
        for first, last in flats:
            if first > 0:
                end = self._flat_end(w, f, b, first, (first - 1, 1), (first + last) // 2)
                ends += [end] if last < len(w) - 1 or not self._hidden(end, w[-1], w[0]) else []
            if last < len(w) - 1:
                end = self._flat_end(w, f, b, last, (last + 1, -1), (first + last) // 2)
                ends += [end] if first > 0 or not self._hidden(end, w[0], w[-1]) else []
        return ends

    def _hidden(self, end: float, start: float, farthest: float) -> bool:
        """Whether a flat that begins where the latents do, at ``start``, is one of rounding alone.

        A function that is -1 at a jump at 0 seems to stay there until it has grown by a rounding error. Then
        it grows by no more than that over the same distance again.
        """
        beyond = 2 * end - start
        if not min(start, farthest) <= beyond <= max(start, farthest):
            return False
        values = self.forward(np.array([start, end, beyond]))
        return bool(np.ptp(values) <= 16 * _EPSILON * np.abs(values).max())

    def _flat_end(
        self, w: Array, f: Array, b: Array, edge: int, beyond: tuple[int, int], middle: int
    ) -> float:
        """Where a flat ends towards the sample ``beyond``: where ``F`` leaves its level, or ``B`` its own.

        ``F`` may leave a flat so smoothly that its rounding hides it where ``B`` already shows it.
        """
        outside, inward = beyond
        level = float(f[edge])
        noise = 0.0 if f[edge] == f[middle] else 8 * _EPSILON * abs(level)
        end = bisect(lambda x: np.abs(self.forward(x) - level) <= noise, w[edge], w[outside])
        constant = float(b[middle])
        same = 0.5 * (self.backward_noise + self.relative * abs(constant))

        def held(x: Array) -> Flags:
            agrees: Flags = np.abs(self.backward(x) - constant) <= same
            return agrees

        near = (
            w[edge + k * inward]
            for k in range(3)
            if min(edge, middle) <= edge + k * inward <= max(edge, middle)
        )
        agreeing = next((x for x in near if held(np.array([x]))[0]), None)
        if agreeing is None or held(np.array([end]))[0]:
            return end
        return bisect(held, agreeing, end)

    def _cuts_of_sign(self, w: Array, f: Array, b: Array) -> list[float]:
        cuts = []
        runs = sign_runs(f, b, self.forward_noise, self.backward_scale)
        for (_, last, sign), (first, _, _) in itertools.pairwise(runs):
            holds: Callable[[Array], Flags] = {
                0: lambda x: self.backward(x) == 0,
                1: lambda x: self.backward(x) > 0,
                -1: lambda x: self.backward(x) < 0,
            }[sign]
            cuts.append(bisect(holds, w[last], w[first]))
        return cuts
