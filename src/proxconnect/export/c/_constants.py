"""Constant arrays of C."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from proxconnect.export._source import LevelWeight
from proxconnect.format.bits import pack_bits

_TYPES = {torch.float32: "float", torch.uint8: "uint8_t", torch.int8: "int8_t", torch.uint32: "uint32_t"}


class Constants:
    """The constant arrays of a file; equal names are written once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes = 0
        self._names: dict[str, str] = {}

    def array(self, key: str, tensor: Tensor) -> str:
        """Return the name of an array with the elements of ``tensor``, which has the unique name ``key``."""
        if key not in self._names:
            name = self._names[key] = f"c{len(self._names)}"
            kind, flat = _TYPES[tensor.dtype], tensor.contiguous().flatten()
            self.bytes += flat.numel() * flat.element_size()
            values = _literals(flat) if kind == "float" else map(str, flat.tolist())
            self.lines.append(f"/* {comment(key)}: {_size(tensor)} */")
            self.lines.append(f"static const {kind} {name}[{max(1, flat.numel())}] = {{")
            self.lines += _wrapped(values)
            self.lines.append("};")
        return self._names[key]

    def weight(self, key: str, weight: LevelWeight | Tensor) -> str:
        """Return the name of a ``Weight``: float32, or codes and scales as small as their levels allow."""
        name = f"w_{self.array(key, _stored(weight))}"
        if name not in self._names:
            self._names[name] = name
            self.lines.append(f"static const Weight {name} = {{{self._fields(key, weight)}}};")
        return name

    def words(self, key: str, signs: Tensor) -> str:
        """Return the name of an array with the bits of ``signs``, along the last dimension in whole words."""
        return self.array(f"{key} as words", packed_words(signs))

    def _fields(self, key: str, weight: LevelWeight | Tensor) -> str:
        stored = self.array(key, _stored(weight))
        if isinstance(weight, Tensor):
            return f"{stored}, 0, 0, 0, 0, {weight[0].numel()}, 0"
        inputs = weight.codes[0].numel()
        count = weight.scale.numel() // weight.codes.shape[0] if weight.scale.numel() > 1 else 0
        group = -(-inputs // count) if count > 1 else 0
        group = min(weight.rows.group, inputs) if weight.rows.group and count > 1 else group
        scales = weight.scale.reshape(-1)
        if count == 0:
            scales = scales.expand(len(weight.codes))
        scale = self.array(f"{key}, scales", scales)
        if weight.is_binary():
            return f"0, {stored}, 0, 0, {scale}, {inputs}, {group}"
        if int(weight.codes.abs().max()) <= 1:
            signs = self.array(f"{key}, signs", pack_bits(weight.codes > 0))
            return f"0, {stored}, {signs}, 0, {scale}, {inputs}, {group}"
        return f"0, 0, 0, {stored}, {scale}, {inputs}, {group}"


def packed_words(signs: Tensor) -> Tensor:
    """Pack the last dimension of ``signs`` to words of 32 bits; the first sign is the lowest bit."""
    rows = signs.reshape(-1, signs.shape[-1])
    data = pack_bits(rows >= 0)
    padded = torch.nn.functional.pad(data, (0, -data.shape[1] % 4))
    return padded.contiguous().view(torch.uint32).reshape(*signs.shape[:-1], -1)


def comment(text: str) -> str:
    """Return ``text`` as it may stand in a comment of C."""
    return text.encode("ascii", "replace").decode().replace("/", "_").replace("\\", "_")


def number(value: float) -> str:
    """Write a float32 as a literal of C.

    >>> number(1), number(0.1), number(float("-inf"))
    ('1.0f', '0.100000001f', '-INFINITY')
    """
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    text = f"{torch.tensor(value, dtype=torch.float32, device='cpu').item():.9g}"
    return f"{text}f" if {".", "e"} & set(text) else f"{text}.0f"


def _stored(weight: LevelWeight | Tensor) -> Tensor:
    if isinstance(weight, Tensor):
        return weight
    if weight.is_binary():
        return pack_bits(weight.codes >= 0)
    if int(weight.codes.abs().max()) <= 1:
        return pack_bits(weight.codes != 0)
    return weight.codes


def _literals(flat: Tensor) -> Iterable[str]:
    for value in flat.tolist():
        text = f"{value:.9g}"
        if not math.isfinite(value):
            yield number(value)
        else:
            yield f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _wrapped(values: Iterable[str]) -> list[str]:
    """Write values in lines of at most about 100 characters."""
    lines, line = [], "   "
    for value in values:
        line += f" {value},"
        if len(line) > 100:
            lines.append(line)
            line = "   "
    return [*lines, line] if line.strip() else lines or ["    0,"]


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"
