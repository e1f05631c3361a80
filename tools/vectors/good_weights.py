"""Files whose weights are known by their definition."""

from __future__ import annotations

import math

import numpy as np
from vectors.file import JSON, File, Network

Weights = dict[str, np.ndarray]


def decoded_kinds() -> tuple[bytes, Weights]:
    """Make a file of every kind of binary weight, and the weights by their definition."""
    random = np.random.RandomState(0)
    file = File()
    file.fields["binary"], file.fields["dense"], file.tensors = {}, {}, {}
    forms = [([3, 11], None, None), ([3, 11], 4, None), ([4, 3, 3, 3], None, None), ([4, 3, 2], 5, None)]
    forms += [
        ([5, 9], None, 1),
        ([5, 9], 2, 1),
        ([4, 3, 3], None, 1),
        ([4, 3, 2, 3], 4, 2),
        ([6, 2, 3], 9, 6),
    ]
    weights = {}
    for number, (shape, group, transposed) in enumerate(forms):
        for bits in (1, 2):
            name = f"w{number}.bits{bits}"
            out = shape[0] if transposed is None else shape[1] * transposed
            k = math.prod(shape) // out
            codes = random.randint(0, 2, (out, k)) * 2 - 1 if bits == 1 else random.randint(-1, 2, (out, k))
            dtype = ("<f2", "<f4", "bfloat16")[number % 3]
            count = (out, -(-k // group)) if group else (1 if number == 2 else out, 1)
            scale = (random.randint(1, 200, count) / 64).astype("<f4")  # exact in all three dtypes
            scale[0, 0] *= number != 3  # a scale may be zero
            spread = np.repeat(scale, group, 1)[:, :k] if group else scale
            rows = np.where(codes > 0, spread, np.where(codes < 0, -spread, np.float32(0))).astype("<f4")
            weights[name] = from_rows(rows, shape, transposed)
            entry: JSON = {"bits": bits, "shape": shape}
            entry |= {"group": group} if group else {}
            entry |= {"transposed": transposed} if transposed else {}
            file.fields["binary"][name] = entry
            planes = [codes > 0] if bits == 1 else [codes != 0, codes > 0]
            packed = np.stack([np.packbits(plane, axis=1, bitorder="little") for plane in planes])
            bits_shape = list(packed.shape[1:] if bits == 1 else packed.shape)
            file.tensors[f"{name}.bits"] = ("U8", bits_shape, packed.tobytes())
            content = scale.astype("<f2").tobytes() if dtype == "<f2" else scale.tobytes()
            if dtype == "bfloat16":
                content = (scale.view("<u4") >> 16).astype("<u2").tobytes()
            code = {"<f2": "F16", "<f4": "F32", "bfloat16": "BF16"}[dtype]
            scale_shape = list(count) if group else [count[0]] + [1] * (len(shape) - 1)
            file.tensors[f"{name}.scale"] = (code, scale_shape, content)
    return file.bytes(), weights


def from_rows(rows: np.ndarray, shape: list[int], transposed: int | None) -> np.ndarray:
    """Put rows into a weight, element by element as section 3 of the page counts."""
    if transposed is None:
        return rows.reshape(shape)
    weight = np.empty(shape, "<f4")
    inputs, outputs = shape[0] // transposed, shape[1]
    for r, row in enumerate(rows):
        q, c = divmod(r, outputs)
        weight[q * inputs : (q + 1) * inputs, c] = row.reshape(inputs, *shape[2:])
    return weight


def decoded_dense(version: int, rest: str) -> tuple[bytes, Weights]:
    """Make a file with dense tensors of every dtype and role, and its weights."""
    random = np.random.RandomState(1)
    file = File(version)
    file.fields["rest"] = rest
    file.fields["binary"], file.fields["dense"], file.tensors = {}, {}, {}
    weights = {}

    def add(name: str, value: np.ndarray, role: str, code: str, dtype: str, content: np.ndarray) -> None:
        file.fields["dense"][name] = {"dtype": dtype, "role": role, "shape": list(value.shape)}
        file.tensors[name] = (code, list(value.shape), content.tobytes())
        weights[name] = value

    kinds = {"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8", "BOOL": "bool"}
    kinds |= {"F16": "float16", "F32": "float32", "F64": "float64"}
    for code, dtype in kinds.items():
        value = random.randint(0, 2 if dtype == "bool" else 100, (2, 3)).astype(dtype)
        add(f"buffer.{dtype}", value, "buffer", code, dtype, value)
    infinite = np.array([[0, -np.inf], [0, 0]], "<f4")
    add("mask", infinite, "constant", "F32", "float32", infinite)
    add("count", np.array(7, "<i8"), "buffer", "I64", "int64", np.array(7, "<i8"))
    add("empty", np.zeros((0, 4), "<f4"), "buffer", "F32", "float32", np.zeros((0, 4), "<f4"))
    codes = random.randint(-127, 128, (3, 2, 2))
    step = np.array([0.5, 0.001, 3], "<f4").reshape(3, 1, 1)
    matrix = {
        "float32": codes.astype("<f4") / 64,
        "float16": codes.astype("<f4") / 64,
        "int8": codes.astype("<f4") * step,
    }[rest]
    code, content = {"float32": ("F32", matrix), "float16": ("F16", matrix.astype("<f2"))}.get(
        rest, ("I8", codes.astype("i1"))
    )
    add("matrix", matrix, "parameter", code, "float32", content)
    if rest == "int8":
        file.tensors["matrix.dequant"] = ("F32", [3, 1, 1], step.tobytes())
    vector = np.array([0.5, -2, 100], "<f4")
    narrow = rest != "float32" and version > 1
    stored_vector = vector.astype("<f2") if narrow else vector
    add("vector", vector, "parameter", "F16" if narrow else "F32", "float32", stored_vector)
    large = np.array([1e30], "<f4")  # beyond float16
    add("large", large, "parameter", "F32", "float32", large)
    return file.bytes(), weights


def linear(version: int) -> tuple[bytes, Weights]:
    """Make the file that the bad ones are made from, and what it decodes to and computes."""
    weight = np.array([[0.5, -0.5, 0.5], [-0.25, 0.25, -0.25]], "<f4")
    bias, x = np.array([1, -2], "<f4"), np.array([[1, 2, 3], [-4, 0, -12]], "<f4")
    found = {"weights/fc.weight": weight, "weights/fc.bias": bias, "weights/mask": np.array([True, False])}
    return Network(version).bytes(), found | {"inputs/x": x, "outputs/0": np.maximum(x @ weight.T + bias, 0)}
