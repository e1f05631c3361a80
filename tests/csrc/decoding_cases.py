"""Cases of decoding_checks.cpp: what a decoder computes between its products."""

from __future__ import annotations

import numpy as np
from case_parts import Cases, numbers
from decoding_reference import attention_of_token, rms_norm, rotated

# texts, heads of keys, queries of each, tokens, features
SIZES = [(1, 1, 1, 1, 2), (2, 3, 1, 5, 6), (1, 2, 4, 70, 32), (2, 1, 2, 17, 64), (1, 1, 3, 131, 90)]


def decoding_cases(random: np.random.Generator) -> Cases:
    for rows, columns in [(1, 1), (3, 15), (2, 16), (1, 17), (4, 100), (2, 200)]:
        x, weight = numbers(random, rows, columns), numbers(random, columns)
        x[-1] *= np.float32(1e3)
        for epsilon in (0.0 if columns > 2 else 1.0, 1e-3):
            out = rms_norm(x, weight, epsilon)
            yield ["rms_norm", rows, columns, np.array([epsilon], np.float32), x, weight, out]
    for number, (texts, heads, queries, tokens, features) in enumerate(SIZES):
        scale, turns = random.choice([0.25, 2.0]), int(random.choice([1, texts]))
        query = numbers(random, texts, heads, queries, features)
        key, value = numbers(random, 2, texts, heads, features)
        cos, sin = numbers(random, 2, turns, features)
        keys, values = numbers(random, 2, texts, heads, tokens, features)
        if number == 1:
            key[0, 0, 0] = np.inf  # makes all outputs of this head NaN
        new_keys, new_values, out = keys.copy(), values.copy(), np.empty_like(query)
        for text in range(texts):
            turn = cos[text % turns], sin[text % turns]
            for head in range(heads):
                new_keys[text, head, -1] = rotated(key[text, head], *turn)
                new_values[text, head, -1] = value[text, head]
                turned = np.array([rotated(each, *turn, scale) for each in query[text, head]])
                out[text, head] = attention_of_token(turned, new_keys[text, head], new_values[text, head])
        sizes = texts, heads, queries, tokens, features, turns
        given = query, key, value, cos, sin, keys, values
        scales = np.array([scale], np.float32)
        yield ["token_attention", *sizes, scales, *given, new_keys, new_values, out]
