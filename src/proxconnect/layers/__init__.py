"""Binarized layers: from a model of float weights to latents, and from latents to hard signs."""

from __future__ import annotations

from proxconnect.layers._parametrization import (
    BinaryWeight,
    binarized_modules,
    latent_weight,
    restore_plain_weight,
)
from proxconnect.layers.accumulator import Accumulator, AccumulatorSums, collect_accumulators
from proxconnect.layers.activations import BinaryActivation, SignActivation, activation_quantizers
from proxconnect.layers.binarize import BINARIZABLE, binarize_
from proxconnect.layers.binary_input import BinaryInput, harden_input_
from proxconnect.layers.config import SETTINGS, BinarizeConfig
from proxconnect.layers.harden import BinarizationInfo, binarization_of, harden_, is_hardened
from proxconnect.layers.recalibrate import recalibrate_

__all__ = [
    "BINARIZABLE",
    "SETTINGS",
    "Accumulator",
    "AccumulatorSums",
    "BinarizationInfo",
    "BinarizeConfig",
    "BinaryActivation",
    "BinaryInput",
    "BinaryWeight",
    "SignActivation",
    "activation_quantizers",
    "binarization_of",
    "binarize_",
    "binarized_modules",
    "collect_accumulators",
    "harden_",
    "harden_input_",
    "is_hardened",
    "latent_weight",
    "recalibrate_",
    "restore_plain_weight",
]
