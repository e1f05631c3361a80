"""Run packed layers, and packed files as networks."""

from __future__ import annotations

from proxconnect.engine._kernel_choice import KERNELS, check_kernels
from proxconnect.engine._precision import EXACT, PRECISIONS, check_precision
from proxconnect.engine.layers import (
    PackedConv1d,
    PackedConv2d,
    PackedConv3d,
    PackedLayer,
    PackedLinear,
    direct_call,
    pack_layer_,
    packed_class,
    unpack_layers_,
)
from proxconnect.engine.network import Network, packed_weight
from proxconnect.engine.weight import PackedWeight
from proxconnect.kernels._sets import active_kernels, cpu_features, kernel_sets, use_kernels

__all__ = [
    "EXACT",
    "KERNELS",
    "PRECISIONS",
    "Network",
    "PackedConv1d",
    "PackedConv2d",
    "PackedConv3d",
    "PackedLayer",
    "PackedLinear",
    "PackedWeight",
    "active_kernels",
    "check_kernels",
    "check_precision",
    "cpu_features",
    "direct_call",
    "kernel_sets",
    "pack_layer_",
    "packed_class",
    "packed_weight",
    "unpack_layers_",
    "use_kernels",
]
