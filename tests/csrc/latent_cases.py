"""Cases of latent_checks.cpp: passes of training, and activations."""

from __future__ import annotations

import numpy as np
from case_parts import Cases, numbers
from kernel_reference import Array
from map_reference import Map, attention, gelu, gelu_tanh, mean_magnitudes


def attention_cases(random: np.random.Generator) -> Cases:
    for queries, keys, features, outputs in [(1, 1, 1, 1), (5, 17, 3, 18), (30, 16, 64, 64), (13, 40, 33, 7)]:
        batches, heads = 2, 3
        query, key, value = (
            numbers(random, batches, heads, rows, columns)
            for rows, columns in ((queries, features), (keys, features), (keys, outputs))
        )
        query[0, 0, 0] = 0
        key[0, 0, -1] = 1e-38
        value[..., 0] = 0
        for scale in (0.5, -3.0):
            out = [
                [attention(query[b, h], key[b, h], value[b, h], scale) for h in range(heads)]
                for b in range(batches)
            ]
            sizes = batches, heads, queries, keys, features, outputs
            yield ["attention", *sizes, np.array([scale], np.float32), query, key, value, dense(out)]


def dense(out: list[list[Array]]) -> Array:
    """Lay out [batches, heads, queries, outputs] as attention does: queries before heads."""
    return np.ascontiguousarray(np.array(out, np.float32).transpose(0, 2, 1, 3))


def latent_cases(random: np.random.Generator) -> Cases:
    yield from attention_cases(random)
    nothing = np.empty(0, np.float32)
    for rows, columns in [(1, 1), (3, 15), (4, 16), (1, 17), (5, 100), (2, 64), (3, 130), (3, 11000)]:
        w = numbers(random, rows, columns) * np.float32(2)
        w[random.random(w.shape) < 0.05] = 1e-41
        yield ["mean_magnitudes", rows, columns, w, mean_magnitudes(w)]
        alike = np.float32(0.1) * np.where(numbers(random, rows, columns) < 0, np.float32(-1), np.float32(1))
        alike[-1, -1] *= random.choice(np.array([1, 2], np.float32))  # or all but the last
        yield ["mean_magnitudes", rows, columns, alike, mean_magnitudes(alike)]
        scale, bias = numbers(random, columns), numbers(random, columns)
        yield ["scale_outputs", rows, columns, w, scale, bias, w * scale + bias]
        yield ["scale_outputs", rows, columns, w, scale, nothing, w * scale]

        w = w.copy()
        w[random.random(w.shape) < 0.05] = np.inf
        w[random.random(w.shape) < 0.05] = -np.inf
        floats = w * np.float32(4)
        floats[random.random(w.shape) < 0.05] = np.nan
        floats[random.random(w.shape) < 0.05] = -0.0
        for kind, activation in enumerate((gelu, gelu_tanh)):
            yield ["activate", kind, floats, activation(floats)]
        g = numbers(random, rows, columns)
        for kind in range(10 if columns < 1000 else 9):
            if kind == 9:
                w[random.random(w.shape) < 0.05] = np.nan
            mu = random.choice([0.25, 1.0, 3.0, 40.0])
            map_ = Map(kind, mu, *((0.125, 1.5) if kind == 8 else (2.0, 0.0)))
            number_of_scales = random.choice([0, 1, rows])
            s, alpha = np.abs(random.standard_normal((2, number_of_scales, 1), np.float32)) + np.float32(0.1)
            size = [rows, columns, kind, map_.constants, map_.cells, w]
            one = np.ones((1, 1), np.float32)
            by_s, by_alpha = (s, alpha) if number_of_scales else (one, one)
            codes = map_.value(map_.argument(w, by_s))
            yield ["quantize", *size, s, alpha, codes, by_alpha * codes]
            by_rows = np.abs(numbers(random, rows, 1)) + np.float32(0.1)
            codes, means = map_.value(map_.argument(w, by_rows)), mean_magnitudes(w)
            yield ["quantize_by_means", *size, by_rows, nothing, codes, means, means.reshape(-1, 1) * codes]
            slope = map_.slope(map_.argument(w, by_s))
            yield ["scale_gradient", *size, s, alpha, g, slope * g * (by_alpha / by_s)]

            height = np.float32(random.choice([0.5, 1.0, 7.0]))
            # Past the last element, all are marked.
            marks = np.pad(np.abs(height * w.ravel()) <= 1, (0, -w.size % 16), constant_values=True)
            inside = np.packbits(marks, bitorder="little").view(np.uint16)
            values = map_.value(map_.argument(w, one))
            yield ["quantize_and_mark", *size, nothing, nothing, np.array([height]), inside, values]
            marked = np.where(marks[: w.size], height * g.ravel(), np.float32(0))
            yield ["scale_marked", inside, np.array([height]), g, marked]
