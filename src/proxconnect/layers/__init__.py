"""Binarized layers, which turn float weights into latents and latents into hard levels."""

from __future__ import annotations

from proxconnect.layers._attachment import give_own_class, restore_latents
from proxconnect.layers._choice import default_layers
from proxconnect.layers._fitness import refuse_sharded
from proxconnect.layers._foreign_state import saved_name
from proxconnect.layers._hardened import (
    BinarizationInfo,
    Hardened,
    HardenedWeight,
    hardened_weights,
    remember,
    remembered,
    scale_name,
)
from proxconnect.layers._parametrization import (
    BinarizedWeight,
    BinaryWeight,
    WeightParts,
    binarized_weights,
    latent_weight,
)
from proxconnect.layers._reads import is_hooked, is_only_read, note_call, note_read, watch_reads_
from proxconnect.layers._sharded import beside, is_sharded, own_part
from proxconnect.layers._tensors import (
    LINEAR_AND_CONV,
    full_name,
    is_transposed_linear,
    read_weights_anew,
    rows_of,
    weight_names,
)
from proxconnect.layers.accumulator import Accumulator, AccumulatorSums, collect_accumulators
from proxconnect.layers.activations import BinaryActivation, SignActivation, activation_quantizers
from proxconnect.layers.binarize import binarize_
from proxconnect.layers.binary_input import (
    BinaryInput,
    binarize_input_,
    harden_input_,
    setting_of,
    takes_binary_input,
)
from proxconnect.layers.config import SETTINGS, BinarizeConfig
from proxconnect.layers.distance import level_distance, normal_quantiles, open_distance, warn_if_far
from proxconnect.layers.harden import binarization_of, harden_, settle_scales_
from proxconnect.layers.recalibrate import recalibrate_

__all__ = [
    "LINEAR_AND_CONV",
    "SETTINGS",
    "Accumulator",
    "AccumulatorSums",
    "BinarizationInfo",
    "BinarizeConfig",
    "BinarizedWeight",
    "BinaryActivation",
    "BinaryInput",
    "BinaryWeight",
    "Hardened",
    "HardenedWeight",
    "SignActivation",
    "WeightParts",
    "activation_quantizers",
    "beside",
    "binarization_of",
    "binarize_",
    "binarize_input_",
    "binarized_weights",
    "collect_accumulators",
    "default_layers",
    "full_name",
    "give_own_class",
    "harden_",
    "harden_input_",
    "hardened_weights",
    "is_hooked",
    "is_only_read",
    "is_sharded",
    "is_transposed_linear",
    "latent_weight",
    "level_distance",
    "normal_quantiles",
    "note_call",
    "note_read",
    "open_distance",
    "own_part",
    "read_weights_anew",
    "recalibrate_",
    "refuse_sharded",
    "remember",
    "remembered",
    "restore_latents",
    "rows_of",
    "saved_name",
    "scale_name",
    "setting_of",
    "settle_scales_",
    "takes_binary_input",
    "warn_if_far",
    "watch_reads_",
    "weight_names",
]
