"""The schedule of a pair that is not in the catalogue, from the distance of its F to the sign."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.layers import normal_quantiles, open_distance
from proxconnect.optim.schedule import SETTLED_MU, Schedule
from proxconnect.quantizers import ForwardBackward, method
from proxconnect.quantizers.pair import evaluated

_LEAST, _MOST = 1e-6, 1e9
_ROUNDS = 60
_SIGN = 1e-6


def schedule_of_pair(pair: ForwardBackward) -> Schedule:
    """Find the schedule along which ``pair`` closes onto the sign as ``bnn++`` does from 1 to 300.

    Raises:
        ProxConnectError: F does not come as close to the sign at any sharpness up to 1e9.
    """
    if _distance(pair, 1.0) < _SIGN:
        if torch.equal(_slopes(pair, 1.0), _slopes(pair, SETTLED_MU)):
            return Schedule("constant", 1)
        return Schedule("exponential", 1, SETTLED_MU)
    closed = _distance(method("bnn++"), 300.0)
    if _distance(pair, _MOST) > closed:
        raise ProxConnectError(
            f"F of the pair {pair.name!r} does not approach -1 and 1 as mu grows: at mu {_MOST:g} its mean "
            f"distance is {_distance(pair, _MOST):.3g}, so hardening would change every weight. Use a pair "
            "whose F ends there, as those that pc.repair returns, or give the schedule's kind, start and end"
        )
    end = _where(pair, closed)
    soft = _distance(method("bnn++"), 1.0)
    start = _where(pair, soft) if _distance(pair, _LEAST) > soft else end / 300
    return Schedule("late", _rounded(start), _rounded(end))


def _distance(pair: ForwardBackward, mu: float) -> float:
    """Compute the mean distance of F from -1 and 1; infinity where F fails or is not finite."""
    distance = open_distance(pair, (-1, 1), mu)
    return math.inf if math.isnan(distance) else distance


def _slopes(pair: ForwardBackward, mu: float) -> Tensor:
    return evaluated(pair.backward, normal_quantiles(), mu)


def _where(pair: ForwardBackward, distance: float) -> float:
    """Find the sharpness at which F is at most ``distance`` from the sign, by bisection of its logarithm."""
    low, high = math.log(_LEAST), math.log(_MOST)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if _distance(pair, math.exp(middle)) > distance:
            low = middle
        else:
            high = middle
    return math.exp(high)


def _rounded(value: float) -> float:
    """Round to two digits."""
    return float(f"{value:.2g}")
