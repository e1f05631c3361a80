"""Cut a continuous stretch of samples at ends of flats, changes of sign and turning points."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from proxconnect.theory._arrays import Array, Flags
from proxconnect.theory.sampling.runs import Run, bisect, flat_runs, sign_runs, touching_zeros, turning_points
from proxconnect.theory.structure._pair import SampledPair


@dataclass(frozen=True)
class Cuts:
    """The latents between which ``F`` has one trend and ``B`` has one sign."""

    pair: SampledPair

    def of(self, w: Array, f: Array, b: Array) -> list[float]:
        """Find the cuts of a continuous stretch with increasing latents ``w``, in increasing order."""
        epsilon = self.pair.forward.epsilon
        flats = flat_runs(w, f, epsilon)
        cuts = {*self._flat_ends(w, f, b, flats), *self._cuts_of_sign(w, f, b)}
        cuts |= set(turning_points(self.pair.forward, w, f, flats, self.pair.forward_noise, epsilon))
        cuts |= set(touching_zeros(self.pair.backward, w, b, flats, self.pair.backward_noise))
        return sorted(cuts)

    def _flat_ends(self, w: Array, f: Array, b: Array, flats: list[Run]) -> list[float]:
        """Find the ends of flats, where ``F`` or ``B`` leaves its level.

        ``F`` may leave a flat so smoothly that rounding hides the end in ``F`` where ``B`` already shows it.
        """
        lows = [(first, first - 1, 1, first, last) for first, last in flats if first > 0]
        highs = [(last, last + 1, -1, first, last) for first, last in flats if last < len(w) - 1]
        if not lows and not highs:
            return []
        edge, outside, inward, first, last = np.array(lows + highs).T
        middle = (first + last) // 2
        level = f[edge]
        noise = np.where(level == f[middle], 0.0, 8 * self.pair.forward.epsilon * np.abs(level))
        ends = bisect(lambda x: np.abs(self.pair.forward(x) - level) <= noise, w[edge], w[outside])
        constant = b[middle]
        same = 0.5 * (self.pair.backward_noise + self.pair.relative * np.abs(constant))

        def on_level(x: Array) -> Flags:
            agrees: Flags = np.abs(self.pair.backward(x) - constant) <= same
            return agrees

        agreeing = np.full(len(ends), np.nan)
        for k in (2, 1, 0):
            near = edge + k * inward
            near = np.where((near - edge) * inward <= np.abs(middle - edge), near, edge)
            agreeing = np.where(on_level(w[near]), w[near], agreeing)
        known = np.isnan(agreeing) | on_level(ends)
        left = bisect(on_level, np.where(known, ends, agreeing), ends)
        ends = np.where(known, ends, left)
        whole = (first == 0) != (last == len(w) - 1)
        start = np.where(first == 0, w[0], w[-1])
        hidden = [
            at_side and self._hidden(end, begin, w)
            for end, begin, at_side in zip(ends, start, whole, strict=True)
        ]
        return [float(end) for end, out in zip(ends, hidden, strict=True) if not out]

    def _hidden(self, end: float, start: float, w: Array) -> bool:
        """Return True for a flat from the first latent ``start`` to ``end`` that is one of rounding alone.

        A function that is -1 at a jump at 0 seems to stay there until it has grown by a rounding error. Over
        the same distance again it grows by no more than another rounding error.
        """
        beyond = 2 * end - start
        if not w[0] <= beyond <= w[-1]:
            return False
        values = self.pair.forward(np.array([start, end, beyond]))
        return bool(np.ptp(values) <= 16 * self.pair.forward.epsilon * np.abs(values).max())

    def _cuts_of_sign(self, w: Array, f: Array, b: Array) -> list[float]:
        """Find the latents at which ``B`` changes sign."""
        runs = sign_runs(f, b, self.pair.forward_noise, self.pair.backward_scale)
        pairs = list(itertools.pairwise(runs))
        if not pairs:
            return []
        last = np.array([left[1] for left, _ in pairs])
        first = np.array([right[0] for _, right in pairs])
        sign = np.array([left[2] for left, _ in pairs])
        cuts = bisect(lambda x: np.sign(self.pair.backward(x)) == sign, w[last], w[first])
        return [float(cut) for cut in cuts]
