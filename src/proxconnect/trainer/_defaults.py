"""Default values of the options that a training configuration leaves open."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxconnect.data import NAMES
from proxconnect.errors import TrainingError
from proxconnect.layers import BinarizeConfig
from proxconnect.models import model_options
from proxconnect.optim import ADAM_LATENT_LR, ADAM_LR, RULES, default_method, default_schedule
from proxconnect.quantizers import ForwardBackward
from proxconnect.trainer._validate import check_known, check_names

if TYPE_CHECKING:
    from proxconnect.trainer.config import TrainConfig

_LEARNING_RATES = {"sgd": 0.1, "adam": ADAM_LR, "adamw": 1e-3}
SGD_BATCH = 128  # the batch of that learning rate of sgd, which is proportional to the batch
_STEPS_PER_EPOCH = 32
_WEIGHT_DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05}
# Behind a ReLU no activation is negative, and every sign is +1.
_BINARY_INPUT = {"block": "bireal", "nonlinearity": "rprelu"}


def with_defaults(config: TrainConfig) -> TrainConfig:
    """Fill in every default of ``config``; refuse names that do not exist."""
    config = _with_method(config)
    convolutional = str(config.model).startswith("resnet")
    optimizer = _given(config.optimizer, "sgd" if config.setting == "fp" and convolutional else "adam")
    config = replace(config, optimizer=optimizer)
    check_names(config)
    config = replace(
        config,
        # Absolute paths, so that a run can be resumed from another folder.
        data=absolute_data(str(config.data)),
        teacher=None if config.teacher is None else os.path.realpath(os.path.expanduser(config.teacher)),
        weight_decay=_WEIGHT_DECAYS[optimizer] if config.weight_decay is None else config.weight_decay,
        **_schedule(config),
        **_model_options(config),
    )
    return with_learning_rates(config)


def with_learning_rates(config: TrainConfig) -> TrainConfig:
    """Fill in the learning rates, but not that of sgd until the batch size is known."""
    lr = config.lr
    if lr is None and config.optimizer == "sgd":
        lr = None if config.batch_size is None else sgd_learning_rate(config.batch_size)
    elif lr is None:
        lr = _LEARNING_RATES.get(str(config.optimizer))
    latent_lr = config.latent_lr if config.latent_lr is not None or lr is None else _latent_lr(config, lr)
    return replace(config, lr=lr, latent_lr=latent_lr)


def sgd_learning_rate(batch_size: int) -> float:
    """Return the default learning rate of sgd.

    >>> sgd_learning_rate(128), sgd_learning_rate(32)
    (0.1, 0.025)
    """
    return _LEARNING_RATES["sgd"] * batch_size / SGD_BATCH


def default_batch_size(images: int) -> int:
    """Return the largest power of two from 8 to 128 with at least 32 steps in an epoch, or 8.

    >>> [default_batch_size(images) for images in (123, 2_000, 45_000)]
    [8, 32, 128]
    """
    return next((size for size in (128, 64, 32, 16) if images >= _STEPS_PER_EPOCH * size), 8)


def absolute_data(data: str) -> str:
    """Make the path of a folder absolute; the name of a data set stays, and so does a mistyped path."""
    folder = os.path.expanduser(data)
    return os.path.abspath(folder) if data not in NAMES and os.path.exists(folder) else data


def binarize_config(config: TrainConfig, pair: ForwardBackward | None) -> BinarizeConfig | None:
    """Make the configuration that binarizes the layers, with ``pair`` if given; None for full precision."""
    if config.setting == "fp":
        return None
    method = pair or config.own_pair or str(config.method)
    scale: str | int | None = {"none": None}.get(config.scale, config.scale)
    if config.scale.isdecimal():
        scale = int(config.scale)
    given = {"activations": config.activations, "accumulator_bits": config.accumulator_bits}
    return BinarizeConfig.from_setting(
        config.setting,
        method=method,
        levels=_levels(config.levels),
        scale=scale,
        learn_scale=config.learn_scale,
        learn_thresholds=config.learn_thresholds,
        overflow=config.overflow,
        **{name: value for name, value in given.items() if value is not None},
    )


def _with_method(config: TrainConfig) -> TrainConfig:
    if config.own_pair is not None:
        name = config.own_pair.name
        if config.method not in (None, name):
            raise TrainingError(f"give either method ({config.method!r}) or pair ({config.pair!r}), not both")
        return replace(config, method=name, rule=_given(config.rule, "pc"))
    rule = _given(config.rule, "pc")
    check_known("rule", rule, RULES)
    method = _given(config.method, "fp" if config.setting == "fp" else default_method(rule))
    return replace(config, method=method, rule=rule)


def _schedule(config: TrainConfig) -> dict[str, Any]:
    annealed = default_schedule("bnn++")
    kind, start, end = annealed
    given = config.mu_schedule, config.mu_start, config.mu_end
    if config.method != "fp" and None in given:
        kind, start, end = default_schedule(config.own_pair or str(config.method), str(config.rule))
    if kind == "constant" and config.mu_end is not None:
        kind = annealed.kind
    return {
        "mu_schedule": _given(config.mu_schedule, kind),
        "mu_start": start if config.mu_start is None else config.mu_start,
        "mu_end": (end or annealed.end) if config.mu_end is None else config.mu_end,
    }


def _latent_lr(config: TrainConfig, lr: float) -> float | None:
    if config.setting == "fp":
        return None
    # This step is for optimizers whose steps are as large as their learning rate, and for the rule pc.
    return lr if config.optimizer == "sgd" or config.rule != "pc" else ADAM_LATENT_LR


def _model_options(config: TrainConfig) -> dict[str, Any]:
    defaults = model_options(str(config.model))
    if config.setting in ("bwa", "bwaa"):
        defaults |= {name: value for name, value in _BINARY_INPUT.items() if name in defaults}
    given = {"block": config.block, "nonlinearity": config.nonlinearity}
    for name, value in given.items():
        if value is not None and name not in defaults:
            raise TrainingError(f"model {config.model!r} has no {name} to choose; leave --{name} out")
    return {name: _given(given[name], value) for name, value in defaults.items()}


def _given(value: str | None, default: str) -> str:
    return default if value is None else value


def _levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(level) for level in text.split(","))
    except ValueError as error:
        raise TrainingError(
            f"levels are numbers separated by commas, such as -1,0,1, not {text!r}"
        ) from error
