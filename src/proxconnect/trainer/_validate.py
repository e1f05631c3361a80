"""Checks that refuse training configurations with contradictions or impossible values."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from proxconnect.data import LARGEST_SIDE
from proxconnect.errors import TrainingError, unknown_name
from proxconnect.layers import SETTINGS
from proxconnect.models import check_model, is_timm
from proxconnect.optim import LARGEST_MU, SCHEDULES, TRAINABLE, check_fit
from proxconnect.quantizers.catalogue import unknown_method
from proxconnect.trainer._process import SHARDED
from proxconnect.trainer.precision import PRECISIONS

if TYPE_CHECKING:
    from proxconnect.trainer.config import TrainConfig

_AT_LEAST = {
    "epochs": 0, "batch_size": 1, "weight_decay": 0, "latent_weight_decay": 0, "limit_train_batches": 1,
    "limit_val_batches": 1, "seed": 0, "image_size": 1, "devices": 1, "distill_feature_weight": 0,
    "mu_start": 0, "overflow_penalty": 0,
}  # fmt: skip
_AT_MOST = {
    "epochs": 2**31 - 1, "batch_size": 2**31 - 1, "limit_train_batches": 2**31 - 1,
    "limit_val_batches": 2**31 - 1, "devices": 2**31 - 1,
    "seed": 2**64 - 1,  # the largest seed of torch
    "image_size": LARGEST_SIDE,
    "mu_start": LARGEST_MU, "mu_end": LARGEST_MU,
}  # fmt: skip
_GROUP = re.compile("[1-9][0-9]{0,6}")
_POSITIVE = ("lr", "latent_lr", "latent_clip", "mu_end", "mu_fraction", "distill_temperature")


def check_names(config: TrainConfig) -> None:
    """Refuse missing options, unknown names, and a method that does not fit the setting."""
    for name in ("model", "data"):
        if getattr(config, name) is None:
            raise TrainingError(f"a training run needs --{name}")
    check_model(str(config.model))
    if config.pretrained and not is_timm(str(config.model)):
        raise TrainingError(f"pretrained needs a model timm:NAME, not {config.model!r}; leave it out")
    if config.pretrained and config.init is not None:
        raise TrainingError("give either pretrained or init, not both: a run starts from one network")
    check_known("setting", config.setting, ("fp", *SETTINGS))
    if config.pair is None and config.method not in (methods := ("fp", *TRAINABLE)):
        raise TrainingError(unknown_method(config.method, methods))
    if (config.method == "fp") != (config.setting == "fp"):
        raise TrainingError(
            f"method {config.method!r} does not fit setting {config.setting!r}: "
            "setting 'fp' goes with method 'fp' and no other"
        )
    check_known("optimizer", config.optimizer, ("sgd", "adam", "adamw"))
    check_known("precision", config.precision, PRECISIONS)
    if not _GROUP.fullmatch(config.scale):
        check_known(
            "scale",
            config.scale,
            ("channel", "tensor", "none", "or how many inputs share one, up to 9999999"),
        )
    if config.mu_schedule is not None:
        check_known("mu schedule", config.mu_schedule, SCHEDULES)


def check_numbers(config: TrainConfig) -> None:
    """Refuse numbers that are out of range, not finite or contradict each other."""
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and not least <= value < math.inf:
            raise TrainingError(f"{name} must be at least {least}, not {value!r}")
    for name, most in _AT_MOST.items():
        value = getattr(config, name)
        if value is not None and value > most:
            raise TrainingError(f"{name} must be at most {most}, not {value!r}")
    for name in _POSITIVE:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise TrainingError(f"{name} must be a positive number, not {value!r}")
    if not config.mu_start and config.mu_schedule not in ("linear", "cosine", "reste"):
        raise TrainingError(f"mu_start must be a positive number for schedule {config.mu_schedule!r}, not 0")
    if config.mu_fraction > 1:
        raise TrainingError(f"mu_fraction is a share of the steps, at most 1, not {config.mu_fraction!r}")
    if not 0 <= config.distill_weight <= 1:
        raise TrainingError(f"distill_weight is a share, from 0 to 1, not {config.distill_weight!r}")
    if config.batch_size is not None and config.batch_size < config.devices:
        raise TrainingError(
            f"batch_size {config.batch_size} leaves some of {config.devices} devices without an image; "
            "choose a larger batch_size"
        )


def check_binarization(config: TrainConfig) -> None:
    """Refuse quantizers that do not exist, rules that do not fit them, and activations that are all +1."""
    binarize = config.binarize
    if binarize is None:
        given = {
            "activations": None,
            "accumulator_bits": None,
            "keep": None,
            "learn_thresholds": False,
            "overflow_penalty": 0,
        }
        for name, default in given.items():
            if getattr(config, name) != default:
                needed = "a setting that binarizes" if name == "keep" else "setting 'bwa' or 'bwaa'"
                raise TrainingError(f"{name} needs {needed}, not 'fp'")
        return
    check_fit(str(config.rule), binarize.pair, binarize.levels)
    if config.overflow_penalty and binarize.accumulator_bits == 32:
        raise TrainingError(f"overflow_penalty needs setting 'bwaa', not {config.setting!r}")
    if binarize.activations is not None and config.nonlinearity == "relu" and not config.learn_thresholds:
        raise TrainingError(
            "behind nonlinearity 'relu' every binary activation is +1; choose another, such as "
            "--nonlinearity rprelu, or --learn-thresholds"
        )


def check_post_training(config: TrainConfig) -> None:
    """Refuse a run of no epochs that has nothing to quantize."""
    if not config.epochs and (config.init is None or config.setting == "fp"):
        raise TrainingError(
            "0 epochs quantize a trained network without training it further: pass its --init, and another "
            "--setting than fp; or give at least 1 epoch"
        )


def check_teacher(config: TrainConfig) -> None:
    """Refuse distillation options without a teacher."""
    if config.teacher is not None:
        return
    default = type(config)()
    for name in ("distill_weight", "distill_temperature", "distill_features", "distill_feature_weight"):
        if getattr(config, name) != getattr(default, name):
            raise TrainingError(f"{name} needs a teacher; pass --teacher CHECKPOINT")


def check_compile(config: TrainConfig) -> None:
    """Refuse to compile a training step that looks into the layers as they compute."""
    for name in ("distill_features", "overflow_penalty"):
        if config.compile and getattr(config, name):
            raise TrainingError(f"{name} looks into layers that --compile hides; leave one of the two out")


def check_sharded(config: TrainConfig) -> None:
    """Refuse what would have the processes of a sharded model compute different things."""
    if config.strategy != SHARDED:
        return
    if config.compile:
        raise TrainingError("compile does not go with strategy 'fsdp2'; leave it out, or take 'ddp'")
    if config.precision == "auto":
        raise TrainingError("strategy 'fsdp2' takes precision '32' or 'bf16', not 'auto'; choose one")


def check_known(kind: str, name: str | None, known: Collection[str]) -> None:
    """Refuse a name that is not in ``known``; the message calls it a ``kind``."""
    if name not in known:
        raise TrainingError(unknown_name(kind, name, known))
