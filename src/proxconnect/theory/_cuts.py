"""Where a pair that does not jump changes its ways: ends of flats, changes of sign, turning points."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from proxconnect.theory._probe import Probe
from proxconnect.theory._runs import Run, bisect, flat_runs, sign_runs, touching_zeros, turning_points
from proxconnect.theory._shape import Array, Flags


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
        epsilon = self.forward.epsilon
        flats = flat_runs(w, f, epsilon)
        cuts = {*self._flat_ends(w, f, b, flats), *self._cuts_of_sign(w, f, b)}
        cuts |= set(turning_points(self.forward, w, f, flats, self.forward_noise, epsilon))
        cuts |= set(touching_zeros(self.backward, w, b, flats, self.backward_noise))
        return sorted(cuts)

    def _flat_ends(self, w: Array, f: Array, b: Array, flats: list[Run]) -> list[float]:
        """Where flats end: where ``F`` leaves its level, or ``B`` its own.

        ``F`` may leave a flat so smoothly that its rounding hides it where ``B`` already shows it.
        """
        lows = [(first, first - 1, 1, first, last) for first, last in flats if first > 0]
        highs = [(last, last + 1, -1, first, last) for first, last in flats if last < len(w) - 1]
        if not lows and not highs:
            return []
        edge, outside, inward, first, last = np.array(lows + highs).T
        middle = (first + last) // 2
        level = f[edge]
        noise = np.where(level == f[middle], 0.0, 8 * self.forward.epsilon * np.abs(level))
        ends = bisect(lambda x: np.abs(self.forward(x) - level) <= noise, w[edge], w[outside])
        constant = b[middle]
        same = 0.5 * (self.backward_noise + self.relative * np.abs(constant))

        def held(x: Array) -> Flags:
            agrees: Flags = np.abs(self.backward(x) - constant) <= same
            return agrees

        agreeing = np.full(len(ends), np.nan)
        for k in (2, 1, 0):
            near = edge + k * inward
            near = np.where((near - edge) * inward <= np.abs(middle - edge), near, edge)
            agreeing = np.where(held(w[near]), w[near], agreeing)
        known = np.isnan(agreeing) | held(ends)
        left = bisect(held, np.where(known, ends, agreeing), ends)
        ends = np.where(known, ends, left)
        whole = (first == 0) != (last == len(w) - 1)
        start = np.where(first == 0, w[0], w[-1])
        hidden = [
            at_side and self._hidden(end, begin, w)
            for end, begin, at_side in zip(ends, start, whole, strict=True)
        ]
        return [float(end) for end, out in zip(ends, hidden, strict=True) if not out]

    def _hidden(self, end: float, start: float, w: Array) -> bool:
        """Whether a flat that begins where the latents do, at ``start``, is one of rounding alone.

        A function that is -1 at a jump at 0 seems to stay there until it has grown by a rounding error. Then
        it grows by no more than that over the same distance again.
        """
        beyond = 2 * end - start
        if not w[0] <= beyond <= w[-1]:
            return False
        values = self.forward(np.array([start, end, beyond]))
        return bool(np.ptp(values) <= 16 * self.forward.epsilon * np.abs(values).max())

    def _cuts_of_sign(self, w: Array, f: Array, b: Array) -> list[float]:
        runs = sign_runs(f, b, self.forward_noise, self.backward_scale)
        pairs = list(itertools.pairwise(runs))
        if not pairs:
            return []
        last = np.array([left[1] for left, _ in pairs])
        first = np.array([right[0] for _, right in pairs])
        sign = np.array([left[2] for left, _ in pairs])
        cuts = bisect(lambda x: np.sign(self.backward(x)) == sign, w[last], w[first])
        return [float(cut) for cut in cuts]
