"""Blocks of GGUF files: by formula, by this library, and by the package gguf."""

from __future__ import annotations

from typing import Any

import gguf
import gguf_reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxconnect.errors import FormatError
from proxconnect.format import BinaryTensor, unpack_weight
from proxconnect.gguf._blocks import BLOCK_TYPES, Blocks

SEEDS = st.integers(0, 2**32 - 1)


def random_rows(kind: str, seed: int, rows: int = 3, blocks: int = 2) -> Any:
    """Draw blocks of any bits whose scales are finite, not negative, and whose levels are ternary."""
    generator = np.random.default_rng(seed)
    block = BLOCK_TYPES[kind]
    data = generator.integers(0, 256, (rows, blocks, block.bytes), np.uint8)
    scales = generator.uniform(0, 2, (rows, blocks, 1)).astype("<f2").view(np.uint8)
    if kind == "Q1_0":
        data[:, :, :2] = scales
    else:
        data[:, :, -2:] = scales
    if kind == "TQ2_0":
        pairs = data[:, :, :64]
        pairs &= ~(pairs & pairs >> 1 & 0x55)  # 3 becomes 2
    return data


def floats(kind: str, decoded: Blocks) -> Any:
    block, rows = BLOCK_TYPES[kind], len(decoded.scales)
    inputs = decoded.scales.shape[1] * block.inputs
    form = BinaryTensor((rows, inputs), block.bits, block.inputs)
    return unpack_weight(torch.from_numpy(decoded.bits), torch.from_numpy(decoded.scales), form).numpy()


@pytest.mark.parametrize("kind", BLOCK_TYPES)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_blocks_decode_as_the_formula_says(kind: str, seed: int) -> None:
    data = random_rows(kind, seed)
    assert np.array_equal(
        floats(kind, BLOCK_TYPES[kind].decode(data)), gguf_reference.decode(kind, data.reshape(3, -1))
    )


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_formula_is_that_of_the_package_gguf(kind: str, seed: int) -> None:
    data = random_rows(kind, seed).reshape(3, -1)
    expected = gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
    assert np.array_equal(gguf_reference.decode(kind, data), expected)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_sizes_are_those_of_the_package_gguf(kind: str) -> None:
    block = BLOCK_TYPES[kind]
    assert (block.inputs, block.bytes) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]


@pytest.mark.parametrize("kind", ["Q1_0", "TQ2_0"])
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_encoding_undoes_decoding(kind: str, seed: int) -> None:
    data, block = random_rows(kind, seed), BLOCK_TYPES[kind]
    assert block.encode is not None
    assert np.array_equal(block.encode(block.decode(data)), data)


def test_ternary_weights_that_the_package_quantized_come_back() -> None:
    weights = np.random.default_rng(0).integers(-1, 2, (4, 512)).astype(np.float32) * 0.5
    weights[:, ::256] = 0.5  # each block has its largest weight
    for kind in ("TQ1_0", "TQ2_0"):
        data = gguf.quantize(weights, gguf.GGMLQuantizationType[kind])
        block = BLOCK_TYPES[kind]
        assert np.array_equal(floats(kind, block.decode(data.reshape(4, 2, block.bytes))), weights)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
def test_impossible_scales_are_refused(kind: str, scale: float) -> None:
    data = random_rows(kind, 0)
    place = slice(0, 2) if kind == "Q1_0" else slice(-2, None)
    data[1, 1, place] = np.array([scale], "<f2").view(np.uint8)
    with pytest.raises(FormatError, match="a scale is negative, infinite or NaN"):
        BLOCK_TYPES[kind].decode(data)


def test_a_weight_of_two_bits_that_is_3_is_refused() -> None:
    data = random_rows("TQ2_0", 0)
    data[2, 0, 7] |= 3
    with pytest.raises(FormatError, match="which is no ternary level"):
        BLOCK_TYPES["TQ2_0"].decode(data)
