"""Compute what csrc/interface/decoding.h and drivers/decoding.h say, in the order in which kernels sum."""

from __future__ import annotations

import numpy as np
from kernel_reference import Array
from map_reference import exponential

F = np.float32
LANES = 16


def sum_of(x: Array, parts: int = 4) -> np.float32:
    """Sum a row: panels of 16 lanes into parts in turn, then the parts and the lanes by halves."""
    sums = np.zeros((parts, LANES), F)
    for number, panel in enumerate(np.pad(x, (0, -len(x) % LANES)).reshape(-1, LANES)):
        sums[number % parts] += panel
    lanes = (sums[0] + sums[1]) + (sums[2] + sums[3]) if parts == 4 else sums[0]
    for half in (8, 4, 2, 1):
        lanes = lanes[:half] + lanes[half:]
    return F(lanes[0])


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    def normalized(row: Array) -> Array:
        return weight * (row * (F(1) / np.sqrt(sum_of(row * row) / F(len(row)) + F(epsilon))))

    return np.array([normalized(row) for row in x], F).reshape(x.shape)


def rotated(x: Array, cos: Array, sin: Array, scale: float = 1.0) -> Array:
    first, second = np.split(x, 2)
    return (x * cos + np.concatenate([-second, first]) * sin) * F(scale)


def attention_of_token(queries: Array, keys: Array, values: Array) -> Array:
    """Attention of queries that share a head of keys, already rotated and scaled."""
    out = np.zeros(queries.shape, F)
    for query, row in zip(queries, out, strict=True):
        scores = np.array([sum_of(query * key, parts=1) for key in keys], F)
        nothing = sum_of(scores * F(0))
        weights = exponential(scores - scores.max())
        weights = weights / (nothing + sum_of(weights))
        for weight, value in zip(weights, values, strict=True):
            row += value * weight
    return out
