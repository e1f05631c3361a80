"""Convolutions of the kernels' interface in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.engine._conv_panels import ConvPanels, Geometry
from proxconnect.engine._steps import Affine, Thresholds
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import pack_bits, unpack_bits


def _weight(weight: ConvPanels) -> Tensor:
    words = weight.words.permute(0, 3, 1, 2).flatten(0, 1).unflatten(0, (weight.groups, -1))
    words = words[:, : weight.n // weight.groups].flatten(0, 1).contiguous()
    inputs = weight.channels // weight.groups
    rows = words.view(torch.uint8).flatten(0, 1)[:, : -(-inputs // 8)]
    taps = unpack_bits(rows.contiguous(), (rows.shape[0], inputs), torch.float32)
    return taps.view(weight.n, -1, inputs).transpose(1, 2).reshape(weight.n, inputs, *weight.kernel)


def _convolved(x: Tensor, weight: ConvPanels, geometry: Geometry) -> Tensor:
    if x.shape[1] != weight.channels:
        raise ProxConnectError(f"x has {x.shape[1]} channels; expected {weight.channels}")
    g = geometry
    y = functional.conv2d(
        x, _weight(weight).to(x.dtype), None, g.stride, g.padding, g.dilation, weight.groups
    )
    return y.permute(0, 2, 3, 1).contiguous()


def _finished(y: Tensor, affine: Affine, residual: Tensor | None) -> Tensor:
    y = y.float() * affine.scale + affine.bias
    y = y if residual is None else y + residual
    return y if affine.slope is None else torch.where(y < 0, y * affine.slope, y)


def pack_pixels(x: Tensor) -> Tensor:
    if x.isnan().any():
        raise ProxConnectError("cannot pack: NaN")
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return pack_bits(rows).view(x.shape[0], *x.shape[2:], -1)


def w1a1_conv_sums(a: Tensor, weight: ConvPanels, geometry: Geometry, *, wrap: bool = False) -> Tensor:
    n, h, w, _ = a.shape
    x = unpack_bits(a.reshape(n * h * w, -1), (n * h * w, weight.channels), torch.float32)
    sums = _convolved(x.view(n, h, w, -1).permute(0, 3, 1, 2), weight, geometry).round().int()
    return (sums + 128) % 256 - 128 if wrap else sums


def w1a1_conv_affine(
    a: Tensor,
    weight: ConvPanels,
    geometry: Geometry,
    affine: Affine,
    residual: Tensor | None = None,
    *,
    wrap: bool = False,
) -> Tensor:
    return _finished(w1a1_conv_sums(a, weight, geometry, wrap=wrap), affine, residual)


def w1a1_conv_signs(
    a: Tensor, weight: ConvPanels, geometry: Geometry, thresholds: Thresholds, *, wrap: bool = False
) -> Tensor:
    sums = w1a1_conv_sums(a, weight, geometry, wrap=wrap)
    flip = unpack_bits(thresholds.flip, (1, weight.n), torch.float32) > 0
    bits = (sums >= thresholds.threshold) != flip
    return pack_bits(bits.flatten(0, 2) * 2.0 - 1).view(*sums.shape[:3], -1)


def w1a8_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    step = x.abs().amax((1, 2, 3), keepdim=True) / 127
    q = (x / step.where(step > 0, 1)).round().double()
    return _finished(_convolved(q, weight, geometry) * step, affine, residual)


def w1a32_conv(
    x: Tensor, weight: ConvPanels, geometry: Geometry, affine: Affine, residual: Tensor | None = None
) -> Tensor:
    return _finished(_convolved(x.double(), weight, geometry), affine, residual)
