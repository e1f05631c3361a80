"""The form of QONNX, which FINN and hls4ml read: float32 weights and binary inputs behind quantizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from proxconnect.export._float_network import FloatNetwork
from proxconnect.export._fold import SIGNS, with_signs
from proxconnect.export._source import Source
from proxconnect.export._traceable import traceable

_DOMAIN = "qonnx.custom_op.general"


def qonnx_network(source: Source) -> FloatNetwork:
    """Make the module to trace, in which the sign of an input is one operator."""
    source = replace(source, graph=with_signs(source.graph))
    return FloatNetwork(source, _weight_and_scale, _function)


def _function(name: str) -> Callable[..., Any]:
    if name != SIGNS:
        return traceable(name)
    return lambda x: _bipolar(x, torch.tensor(1.0, dtype=torch.float32, device="cpu"))


def _weight_and_scale(codes: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Callable[..., Tensor]]:
    wide = scale.reshape(-1, *(1,) * (codes.ndim - 1))
    weight = codes.to(torch.float32) * wide
    if bool((codes.abs() == 1).all()):
        return weight, wide, _bipolar
    bits = int(codes.abs().max()).bit_length() + 1 if codes.numel() else 2
    return weight, wide.where(wide != 0, 1), lambda weight, scale: _rounded(weight, scale, bits)


def _bipolar(x: Tensor, scale: Tensor) -> Tensor:
    """Stand for ``scale`` where ``x >= 0`` and ``-scale`` elsewhere."""
    return _operator("BipolarQuant", (x, scale), {})


def _rounded(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Stand for whole numbers of ``bits`` bits, without the least, times ``scale``."""
    zero, width = (torch.tensor(float(n), dtype=torch.float32, device="cpu") for n in (0, bits))
    return _operator("Quant", (x, scale, zero, width), {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"})


def _operator(name: str, inputs: tuple[Tensor, ...], settings: dict[str, Any]) -> Tensor:
    x = inputs[0]
    return torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{name}", inputs, settings, dtype=x.dtype, shape=x.shape, version=1
    )
