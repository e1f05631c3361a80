"""Call the compiled kernels, with checked arguments.

Weights of one bit are multiplied by activations of one bit (W1A1), of eight bits (W1A8) or in float32
(W1A32). A weight is laid out once, as :class:`Panels` or, for convolutions, as :class:`ConvPanels`. An
epilogue, :class:`Affine`, :class:`Thresholds` or :class:`Chain`, follows the sums while they are in
registers. :class:`CompiledMap` does the passes of training. As many threads work as
``torch.get_num_threads()`` says. Every kernel set and every number of threads gives the same bits.

Bits of activations and files are laid out as ``proxconnect.format.bits`` says.
"""

from __future__ import annotations

from proxconnect.kernels._activations import activate
from proxconnect.kernels._attention import MOST_ATTENTION_FEATURES, MOST_ATTENTION_KEYS, attention
from proxconnect.kernels._chains import Chain, Outputs, Step, chain_rows, w1a1_chain, w1a1_conv_chain
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._epilogues import Affine, Thresholds
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._maps import (
    TABLE_ROOT_SHIFT,
    TABLE_SPLIT_BITS,
    CompiledMap,
    MapKind,
    TabulatedFunction,
    TabulatedMap,
    fits_compiled_code,
    marked_gradient,
    mean_magnitudes,
    scale_channels_,
    unpacked_marks,
    with_stride,
)
from proxconnect.kernels._packing import pack_pixels, pack_signs, unpack_weights
from proxconnect.kernels._panels import Panels
from proxconnect.kernels._prepared import PreparedCall
from proxconnect.kernels._rms_norm import rms_norm
from proxconnect.kernels._sets import active_kernels, cpu_features, kernel_sets, use_kernels
from proxconnect.kernels._token_attention import token_attention
from proxconnect.kernels._w1a1 import w1a1_affine, w1a1_signs, w1a1_sums
from proxconnect.kernels._w1a1_conv import w1a1_conv_affine, w1a1_conv_signs, w1a1_conv_sums
from proxconnect.kernels._w1a8 import w1a8
from proxconnect.kernels._w1a8_conv import w1a8_conv
from proxconnect.kernels._w1a32 import w1a32
from proxconnect.kernels._w1a32_conv import w1a32_conv

__all__ = [
    "MOST_ATTENTION_FEATURES",
    "MOST_ATTENTION_KEYS",
    "TABLE_ROOT_SHIFT",
    "TABLE_SPLIT_BITS",
    "Affine",
    "Chain",
    "CompiledMap",
    "ConvPanels",
    "Geometry",
    "MapKind",
    "Outputs",
    "Panels",
    "PreparedCall",
    "Step",
    "TabulatedFunction",
    "TabulatedMap",
    "Thresholds",
    "activate",
    "active_kernels",
    "attention",
    "chain_rows",
    "cpu_features",
    "fits_compiled_code",
    "kernel_sets",
    "marked_gradient",
    "mean_magnitudes",
    "pack_pixels",
    "pack_signs",
    "rms_norm",
    "scale_channels_",
    "token_attention",
    "unpack_weights",
    "unpacked_marks",
    "use_kernels",
    "w1a1_affine",
    "w1a1_chain",
    "w1a1_conv_affine",
    "w1a1_conv_chain",
    "w1a1_conv_signs",
    "w1a1_conv_sums",
    "w1a1_signs",
    "w1a1_sums",
    "w1a8",
    "w1a8_conv",
    "w1a32",
    "w1a32_conv",
    "with_stride",
]
