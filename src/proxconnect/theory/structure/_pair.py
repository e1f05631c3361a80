"""A sampled pair: both quantizers, and the size of differences that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

from proxconnect.theory.sampling.probe import Probe

RELATIVE = 1e-6
_FORWARD_NOISE = 1e-12
_BACKWARD_NOISE = 1e-6
_ROUNDINGS = 8


@dataclass(frozen=True)
class SampledPair:
    """Both quantizers of a pair, and the noise of their values.

    Args:
        forward: ``F``.
        backward: ``B``.
        forward_noise: differences of ``F`` up to this mean nothing.
        backward_noise: differences of ``B`` up to this mean nothing.
        forward_scale: the largest absolute value of ``F`` near 0.
        backward_scale: the largest absolute value of ``B`` near 0.
        relative: differences of ``B`` below this times its values mean nothing either.
    """

    forward: Probe
    backward: Probe
    forward_noise: float
    backward_noise: float
    forward_scale: float
    backward_scale: float
    relative: float

    @classmethod
    def of(cls, forward: Probe, backward: Probe, scales: tuple[float, float]) -> SampledPair:
        """Take the noise from the precision of both quantizers and the scales of their values."""
        of_forward, of_backward = _ROUNDINGS * forward.epsilon, _ROUNDINGS * backward.epsilon
        return cls(
            forward,
            backward,
            max(_FORWARD_NOISE, of_forward) * scales[0],
            max(_BACKWARD_NOISE, of_backward) * scales[1],
            *scales,
            max(RELATIVE, of_backward),
        )
