"""Files without a network that break one rule each, by the name of the rule."""

from __future__ import annotations

import base64
import math

import numpy as np
from vectors.file import Change, File, at, each, gone, nested, plain, tensor

FLOAT32 = {"dtype": "float32", "role": "parameter"}
PREPROCESSING = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}

WEIGHTS: dict[str, Change] = {
    # the container
    "container-shorter-than-8-bytes": at("whole", to=lambda data: data[:7]),
    "container-header-longer-than-file": at("whole", to=lambda data: b"\xff" * 4 + data[4:]),
    "container-header-not-an-object": at("outer_text", to=lambda text: b"[" + text[1:]),
    "container-header-begins-with-a-space": at("outer_text", to=lambda text: b" " + text[:-1]),
    "container-header-begins-with-a-byte-order-mark": at(
        "outer_text", to=lambda text: b"\xef\xbb\xbf" + text[:-3]
    ),
    "container-header-not-utf-8": at("outer_text", to=lambda text: text.replace(b"mask", b"mas\xff")),
    "container-key-twice": at("outer_text", to=lambda text: text.replace(b'"mask"', b'"fc.bias"')),
    "container-no-metadata": at("outer_text", to=lambda text: text.replace(b'"proxconnect"', b'"something"')),
    "container-more-metadata": at(
        "outer_text", to=lambda text: text.replace(b'"__metadata__":{', b'"__metadata__":{"format":"pt",')
    ),
    "container-unknown-dtype": at("table", "mask", to={"dtype": "F8_E4M3"}),
    "container-entry-with-another-key": at("table", "mask", to={"stride": [1]}),
    "container-offsets-not-of-the-size": at("table", "fc.bias", to={"shape": [3]}),
    "container-gap-between-tensors": each(
        at("table", "mask", to={"data_offsets": [15, 17]}), at("body", to=lambda body: body + b"\0")
    ),
    "container-tensor-missing": gone("tensors", "mask"),
    "container-tensor-of-another-dtype": at("table", "mask", to={"dtype": "U8"}),
    "container-tensor-of-another-shape": at("table", "mask", to={"shape": [1, 2]}),
    "container-extra-tensor": tensor("more", "U8", [1], b"\0"),
    "container-followed-by-a-byte": at("body", to=lambda body: body + b"\0"),
    "container-truncated": at("body", to=lambda body: body[:-1]),
    # the hash
    "hash-of-other-bytes": at("whole", to=lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "hash-in-capitals": at("outer", "sha256", to="A" * 64),
    "hash-with-other-escapes": at(
        "outer_text", to=lambda text: text.replace(rb"\"sha256\"", rb"\u0022sha256\u0022")
    ),
    # the header
    "header-version-0": at("outer", "version", to=0),
    "header-version-3": at("outer", "version", to=3),
    "header-version-true": at("outer", "version", to=True),
    "header-another-field": at("outer", "rest", to="float32"),
    "header-fields-not-base64": at("outer", "fields", to="????"),
    "header-fields-not-zlib": at("outer", "fields", to=base64.b64encode(b"nothing").decode()),
    "header-fields-longer-than-declared": at("outer", "raw_bytes", to=10),
    "header-fields-shorter-than-declared": at("outer", "raw_bytes", to=10_000),
    "header-fields-declared-beyond-the-limit": at("outer", "raw_bytes", to=2**24 + 1),
    "header-fields-not-an-object": at("raw_fields", to=b"[]"),
    "header-fields-not-utf-8": at("raw_fields", to=b'"\xff"'),
    "header-fields-begin-with-a-byte-order-mark": lambda file: at(
        "raw_fields", to=b"\xef\xbb\xbf" + plain(file.fields).encode()
    )(file),
    "header-fields-have-a-version": at("fields", "version", to=2),
    "header-key-twice": at("header_text", to=lambda text: text.replace('"version"', '"raw_bytes"')),
    "header-not-a-number": at("fields", "metrics", to={"loss": math.nan}),
    "header-lone-surrogate": at("fields", "classes", to=["\ud800"]),
    "header-nested-257-deep": at("fields", "classes", to=nested(256)),
    "header-field-missing": gone("fields", "metrics"),
    "header-field-unknown": at("fields", "author", to="me"),
    "header-rest-unknown": at("fields", "rest", to="int4"),
    "header-bits-3": at("fields", "binary", "fc.weight", "bits", to=3),
    "header-binary-of-one-dimension": at("fields", "binary", "fc.weight", "shape", to=[6]),
    "header-binary-of-size-0": at("fields", "binary", "fc.weight", "shape", to=[0, 3]),
    "header-group-0": at("fields", "binary", "fc.weight", "group", to=0),
    "header-transposed-matrix-of-2-groups": at("fields", "binary", "fc.weight", "transposed", to=2),
    "header-accumulator-of-3-bits": at("fields", "binary", "fc.weight", "accumulator", to="wrap 3"),
    "header-dense-of-an-unknown-dtype": at("fields", "dense", "mask", "dtype", to="complex64"),
    "header-dense-of-an-unknown-role": at("fields", "dense", "mask", "role", to="weight"),
    "header-dense-of-65-dimensions": each(
        at("fields", "dense", "fc.bias", "shape", to=[1] * 64 + [2]),
        at("table", "fc.bias", to={"shape": [1] * 64 + [2]}),
    ),
    "header-dense-whose-strides-overflow": each(
        at("fields", "dense", "none", to={**FLOAT32, "shape": [0, 2**62, 2**62]}),
        tensor("none", "F32", [0, 2**62, 2**62], b""),
    ),
    "header-name-of-1001-characters": each(
        at("fields", "dense", "n" * 1001, to={**FLOAT32, "shape": [0]}), tensor("n" * 1001, "F32", [0], b"")
    ),
    "header-name-with-a-control-character": each(
        at("fields", "dense", "a\nb", to={**FLOAT32, "shape": [0]}), tensor("a\nb", "F32", [0], b"")
    ),
    "header-name-both-binary-and-dense": at("fields", "dense", "fc.weight", to={**FLOAT32, "shape": [2, 3]}),
    "header-two-tensors-of-one-name": at(
        "fields", "dense", "fc.weight.bits", to={"dtype": "uint8", "role": "buffer", "shape": [2, 1]}
    ),
    "header-classes-not-strings": at("fields", "classes", to=["cat", 1]),
    "header-preprocessing-lacks-a-key": at("fields", "preprocessing", to={"size": [8, 8]}),
    "header-preprocessing-nested-200-deep": at("fields", "preprocessing", to={"size": nested(200)}),
    "header-preprocessing-of-size-0": at("fields", "preprocessing", to={**PREPROCESSING, "size": [0, 8]}),
    "header-preprocessing-divides-by-0": at("fields", "preprocessing", to={**PREPROCESSING, "std": [0]}),
    "header-preprocessing-of-other-channels": at(
        "fields", "preprocessing", to={**PREPROCESSING, "mode": "RGB"}
    ),
    "header-metric-beyond-float64": at("fields", "metrics", to={"a": 10**400}),
    "header-metric-not-a-number": at("fields", "metrics", to={"a": True}),
    # the values of tensors
    "values-padding-bit-set": tensor("fc.weight.bits", "U8", [2, 1], bytes([5, 10])),
    "values-sign-of-a-ternary-zero": each(
        at("fields", "binary", "fc.weight", "bits", to=2),
        tensor("fc.weight.bits", "U8", [2, 2, 1], bytes([5, 5, 2, 5])),
    ),
    "values-scale-infinite": tensor("fc.weight.scale", "F16", [2, 1], np.array([1, np.inf], "<f2").tobytes()),
    "values-scale-negative": tensor("fc.weight.scale", "F16", [2, 1], np.array([1, -0.5], "<f2").tobytes()),
    "values-scale-minus-zero": tensor("fc.weight.scale", "F16", [2, 1], np.array([1, -0.0], "<f2").tobytes()),
    "values-dequant-negative": each(
        at("fields", "rest", to="int8"),
        at("fields", "dense", "m", to={**FLOAT32, "shape": [1, 2]}),
        tensor("m", "I8", [1, 2], b"\1\2"),
        tensor("m.dequant", "F32", [1, 1], np.array([-1], "<f4").tobytes()),
    ),
    "values-parameter-not-a-number": tensor("fc.bias", "F32", [2], np.array([1, np.nan], "<f4").tobytes()),
    "values-bool-of-2": tensor("mask", "BOOL", [2], bytes([2, 0])),
}

# The same for files of version 1.
OF_VERSION_1: dict[str, Change] = {
    "header-vector-in-float16-in-version-1": each(
        at("fields", "rest", to="int8"),
        tensor("fc.bias", "F16", [2], np.array([1, -2], "<f2").tobytes()),
    ),
    "header-compressed-in-version-1": at(
        "header_text", to=lambda text: File().header().replace('"version":2', '"version":1')
    ),
}
