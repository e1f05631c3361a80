"""The maps of training as the kernels compute them: numpy in float32, operation by operation.

``proxconnect.quantizers`` states what they approximate; here are the bits that every set gives.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from kernel_reference import Array, sign

F = np.float32
TURN = F(1.1996786402577338)


def at_least(x: Array, low: float) -> Array:
    return np.where(x < low, F(low), x)


def at_most(x: Array, high: float) -> Array:
    return np.where(x > high, F(high), x)


def clipped(x: Array, low: float, high: float) -> Array:
    return at_most(at_least(x, low), high)


def polynomial(x: Array, *coefficients: float) -> Array:
    y = np.full_like(x, F(coefficients[0]))
    for c in coefficients[1:]:
        y = y * x + F(c)
    return y


def power_of_two_times_exponential(shifted: Array, r: Array) -> Array:
    z = r * r
    low = (r * F(1.6666665459e-1) + F(5.0000001201e-1)) + (r * F(8.3334519073e-3) + F(4.1665795894e-2)) * z
    high = r * F(1.9875691500e-4) + F(1.3981999507e-3)
    y = (low + high * (z * z)) * z + r + F(1)
    return (y.view(np.int32) + (shifted.view(np.int32) << 23)).view(F)


def exponential(x: Array) -> Array:
    x = clipped(x, F(-87), F(88))
    shifted = x * F(1.44269504) + F(12582912)
    n = shifted - F(12582912)
    r = (x - n * F(0.693359375)) - n * F(-2.12194440e-4)
    return power_of_two_times_exponential(shifted, r)


def attention(query: Array, key: Array, value: Array, scale: float) -> Array:
    """Attention of one head as csrc/interface/attention.h says."""
    features, keys = query.shape[1], len(key)
    greatest = F(min(4095, int(((2**31 - 1) / features) ** 0.5)))

    def steps(most: Array, of: F) -> tuple[Array, Array]:
        step = most / of
        large = step >= F(1e-30)
        return np.where(large, step, F(0)), np.where(large, F(1) / np.where(large, step, F(1)), F(0))

    def integers(x: Array) -> Array:
        return np.rint(x).astype(np.int64)

    query_steps, query_inverse = steps(np.abs(query).max(1, keepdims=True) * np.abs(F(scale)), greatest)
    key_steps, key_inverse = steps(np.abs(key).max(1, keepdims=True), greatest)
    value_steps, value_inverse = steps(np.abs(value).max(0, keepdims=True), F(4095))
    sums = integers(query * (F(scale) * query_inverse)) @ integers(key * key_inverse).T
    scores = sums.astype(F) * key_steps.T
    e = exponential((scores - scores.max(1, keepdims=True)) * query_steps)
    lanes = np.pad(e, ((0, 0), (0, -keys % 16))).reshape(len(e), -1, 16)
    of_lanes = np.zeros((len(e), 16), F)
    for panel in range(lanes.shape[1]):
        of_lanes = of_lanes + lanes[:, panel]
    total = np.zeros((len(e), 1), F)
    for lane in range(16):
        total = total + of_lanes[:, lane : lane + 1]
    weights = integers(e * np.minimum(F(32767), F(2**19 - keys) / total))
    shares = F(1) / weights.sum(1, keepdims=True).astype(F)
    return (weights @ integers(value * value_inverse)).astype(F) * shares * value_steps


def gelu(x: Array) -> Array:
    """Compute x Phi(x); Phi(-t) is 1 / (2 p(t)^8)."""
    t = at_most(np.abs(x), F(5.5))
    t2 = t * t
    t4 = t2 * t2
    low = (t * F(9.97357325e-2) + F(1)) + (t * F(8.688609e-3) + F(4.47598009e-2)) * t2
    middle = (t * F(2.65275738e-4) + F(8.17622101e-4)) + (t * F(1.02358998e-5) + F(1.27316047e-5)) * t2
    high = t * F(3.17413129e-7) - F(1.63499368e-6)
    p = (high * t4 + middle) * t4 + low
    p2 = p * p
    p4 = p2 * p2
    of_minus_t = F(0.5) / (p4 * p4)
    return x * np.where(x < F(-5.5), F(0), np.where(x < 0, of_minus_t, F(1) - of_minus_t))


def gelu_tanh(x: Array) -> Array:
    """Compute x (1 + tanh y) / 2 as x / (1 + e^-2y), with y = sqrt(2 / pi) (x + 0.044715 x^3)."""
    share = F(1) / (exponential((x * x * F(-7.1354816273e-2) - F(1.5957691216)) * x) + F(1))
    return x * np.where(x < F(-10), F(0), share)


def power(x: Array, exponent: F) -> Array:
    half = np.int32(0x3F3504F3)
    offset = x.view(np.int32) - half
    m = ((offset & 0x007FFFFF) + half).view(F) - F(1)
    z = m * m
    z2 = z * z
    low = m * F(-2.4999993993e-1) + F(3.3333331174e-1)
    low = low + (m * F(-1.6668057665e-1) + F(2.0000714765e-1)) * z
    high = m * F(-1.2420140846e-1) + F(1.4249322787e-1)
    high = high + (m * F(-1.1514610310e-1) + F(1.1676998740e-1)) * z
    y = (low + (high + z2 * F(7.0376836292e-2)) * z2) * (m * z) - z * F(0.5)
    binary = ((m + y) * F(1.44269504) + (offset >> 23).astype(F)) * exponent
    shifted = binary + F(12582912)
    return power_of_two_times_exponential(shifted, (binary - (shifted - F(12582912))) * F(0.693147182))


def tanh_below_one(x: Array) -> Array:
    return F(2) / (exponential(x + x) + F(1))


def tanh(x: Array) -> Array:
    z = x * x
    y = polynomial(
        z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1
    )
    large = F(1) - tanh_below_one(np.abs(x))
    return np.where(np.abs(x) < F(0.625), y * z * x + x, np.where(x < 0, -large, large))


def logistic(x: Array) -> Array:
    e = exponential(x)
    return e / (F(1) + e)


def swish(h: Array) -> Array:
    d = tanh_below_one(np.abs(h))
    return d * (F(2) - d) * h + tanh(h)


def quarter_of_swish_slope(minus_size: Array) -> Array:
    p = logistic(minus_size)
    return ((F(0.5) - p) * minus_size + F(1)) * (p - p * p)


class Map:
    """The map number `kind` of csrc/interface/maps.h."""

    def __init__(self, kind: int, mu: float, a: float, b: float) -> None:
        self.kind = kind
        names = ("identity", "sign", "ramp", "binary_relax", "polynomial", "tanh", "sign_swish")
        self.name = (*names, "monotone_sign_swish", "reste", "table")[kind]
        self.cells = drawn_cells() if self.name == "table" else np.empty((0, 4), F)
        self.constants = np.array([mu, a, b], F)
        self.mu, self.a, self.b = self.constants

    def argument(self, w: Array, s: Array) -> Array:
        return w * (self.mu / s) if self.name == "table" else w / s

    def value(self, w: Array) -> Array:
        return getattr(self, self.name)(w)[0]

    def slope(self, w: Array) -> Array:
        return getattr(self, self.name)(w)[1]

    def identity(self, w: Array) -> tuple[Array, Array]:
        return w, np.ones_like(w)

    def sign(self, w: Array) -> tuple[Array, Array]:
        return sign(w), np.zeros_like(w)

    def ramp(self, w: Array) -> tuple[Array, Array]:
        mu = max(self.mu, self.a)
        return clipped(mu * w, -1, 1), np.where(np.abs(mu * w) <= 1, mu, F(0))

    def binary_relax(self, w: Array) -> tuple[Array, Array]:
        q = sign(w)
        return (w - q) / (F(1) + self.mu) + q, np.full_like(w, F(1) / (F(1) + self.mu))

    def polynomial(self, w: Array) -> tuple[Array, Array]:
        u = clipped(self.mu * w, -1, 1)
        return (F(2) - np.abs(u)) * u, (F(1) - at_most(np.abs(self.mu * w), 1)) * (F(2) * self.mu)

    def tanh(self, w: Array) -> tuple[Array, Array]:
        size = max(F(1) / self.mu, F(1))
        p = logistic(F(-2) * np.abs(self.mu * w))
        return size * tanh(self.mu * w), size * self.mu * ((p - p * p) * F(4))

    def sign_swish(self, w: Array) -> tuple[Array, Array]:
        slope = quarter_of_swish_slope(at_least(np.abs(w) * -self.mu, -800)) * (F(4) * self.mu)
        return swish(clipped(F(0.5) * self.mu * w, -400, 400)), slope

    def monotone_sign_swish(self, w: Array) -> tuple[Array, Array]:
        peak = TURN * F(1 - 2.0**-21)
        minus_size = np.abs(w) * -self.mu
        slope = at_least(quarter_of_swish_slope(at_least(minus_size, -800)), 0) * (F(4) * self.mu / TURN)
        value = clipped(swish(clipped(F(0.5) * self.mu * w, -TURN, TURN)) / peak, -1, 1)
        return value, np.where(minus_size > F(-2) * TURN, slope, F(0))

    def reste(self, w: Array) -> tuple[Array, Array]:
        m, t, root, size = self.a, self.b, F(1) / max(self.mu, F(1)), np.abs(w)

        def held_power(exponent: F) -> Array:
            return power(clipped(size, m, t), exponent)

        slope = held_power(root - F(1))
        slope = np.where(size <= m, slope, np.where(size <= t, root * slope, F(0)))
        return clipped(w / m, -1, 1) * held_power(root), slope

    def table(self, w: Array) -> tuple[Array, Array]:
        found = self.a * np.array([look_up(self.cells, x) for x in w.ravel()], F) + self.b
        return found.reshape(w.shape), found.reshape(w.shape)


def look_up(cells: Array, x: F) -> F:
    bits, shift = int(x.view(np.uint32)), 18
    cell = cells[bits >> shift]
    while np.isnan(cell[0]) and cell.view(np.int32)[1]:
        shift -= 6
        cell = cells[cell.view(np.int32)[1] + ((bits >> shift) & 63)]
    width = 1 << shift
    t = F(bits & (width - 1)) / F(width) - F(0.5)
    return ((cell[3] * t + cell[2]) * t + cell[1]) * t + cell[0]


@cache
def drawn_cells() -> Array:
    """Draw the cells of a table; one in four is split, down to single floats, and some are NaN."""
    random = np.random.default_rng(0)
    levels = [random.standard_normal((size, 4), F) for size in (2**14, 512, 512, 512)]
    for cells in levels:
        cells[7::50, :2] = np.nan, 0
    first = np.cumsum([len(cells) for cells in levels])
    for cells, below in zip(levels[:-1], first[:-1], strict=True):
        chosen = np.arange(0, len(cells), 4)
        cells[chosen, 0] = np.nan
        cells.view(np.int32)[chosen, 1] = below + 64 * random.integers(0, 8, len(chosen))
    cells = np.concatenate(levels)
    return cells


def mean_magnitudes(values: Array) -> Array:
    """Sum every sixty-fourth value, add the sums in quarters of sixteen, and then lane by lane.

    Where all magnitudes of a row are equal, their mean is exactly that.
    """
    rows, columns = values.shape
    parts = np.abs(np.pad(values, ((0, 0), (0, -columns % 64)))).reshape(rows, -1, 4, 16)
    sums = np.zeros((rows, 4, 16), F)
    for part in np.moveaxis(parts, 1, 0):
        sums += part
    lanes = (sums[:, 0] + sums[:, 1]) + (sums[:, 2] + sums[:, 3])
    total = np.zeros(rows, F)
    for lane in lanes.T:
        total += lane
    magnitudes = np.abs(values)
    alike = (magnitudes == magnitudes[:, :1]).all(axis=1)
    return np.where(alike, magnitudes[:, 0], total / F(columns))
