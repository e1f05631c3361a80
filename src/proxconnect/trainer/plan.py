"""The plan of a run, in the line that it prints first."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import torch

from proxconnect.data import ImageData
from proxconnect.trainer._defaults import SGD_BATCH, sgd_learning_rate
from proxconnect.trainer.config import TrainConfig

# Runs with fewer steps than this stay far below what the network can reach.
_FEW_STEPS = 200


def plan_lines(config: TrainConfig, data: ImageData) -> Iterator[str]:
    """Yield the line that a run prints first, and if its steps are few another, which says what to change.

    Args:
        config: a configuration with every default filled in, :meth:`TrainConfig.for_images` too.
        data: the images of the run.

    >>> from proxconnect.data import load_data
    >>> data = load_data("digits")
    >>> config = TrainConfig(model="resnet20", data="digits", epochs=3).resolved().for_images(len(data.train))
    >>> for line in plan_lines(config, data):
    ...     print(line)
    1,257 images of 10 classes, 180 to validate on; batch 32, 40 steps an epoch, 120 in all; adam, learning rate 0.002, latents 0.05 of their scale; mu from 1 to 300
    120 steps are few, and the accuracy will be low: pass --epochs 5 or more, a smaller --batch-size, or --init RUN to start from a full-precision run
    """  # noqa: E501
    per_epoch = steps_per_epoch(config, len(data.train))
    total = config.epochs * per_epoch
    yield "; ".join(_parts(config, data, per_epoch, total))
    if 0 < total < _FEW_STEPS:
        yield (
            f"{total} steps are few, and the accuracy will be low: pass "
            f"{_listed(list(_remedies(config, len(data.train), per_epoch)))}"
        )


def busy_lines() -> Iterator[str]:
    """Yield a line if other programs use the cores that the threads of this process want."""
    threads = torch.get_num_threads()
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if threads > 1 and load > cores:
        yield (
            f"other programs keep this machine busy ({load:.1f} at work on {cores} cores), and the {threads} "
            "threads of this one wait for each other: with OMP_NUM_THREADS=1 it may train many times faster"
        )


def steps_per_epoch(config: TrainConfig, images: int) -> int:
    """Return the number of steps in an epoch of ``images`` images."""
    steps = math.ceil(images / config.images_per_step) - leaves_out_last(config, images)
    return min(steps, config.limit_train_batches or steps)


def leaves_out_last(config: TrainConfig, images: int) -> bool:
    """Tell whether an epoch leaves out its last batch, since a device would get a single image of it.

    BatchNorm cannot train on a single value for each channel. Which images are left out changes each epoch.
    """
    return images > config.images_per_step and 0 < images % config.images_per_step < 2 * config.devices


def _parts(config: TrainConfig, data: ImageData, per_epoch: int, total: int) -> Iterator[str]:
    yield f"{len(data.train):,} images of {len(data.classes):,} classes, {len(data.val):,} to validate on"
    if not config.epochs:
        yield "no training: the network is binarized as it is, and BatchNorm settled"
        return
    yield f"batch {config.batch_size}, {per_epoch:,} steps an epoch, {total:,} in all"
    rates = f"{config.optimizer}, learning rate {config.lr:g}"
    batch = config.images_per_step
    if config.optimizer == "sgd" and batch != SGD_BATCH and config.lr == sgd_learning_rate(batch):
        rates += f" ({sgd_learning_rate(SGD_BATCH):g} for a batch of {SGD_BATCH})"
    if config.setting == "fp":
        yield rates
        return
    latent = config.lr if config.latent_lr is None else config.latent_lr
    relative = "" if config.optimizer == "sgd" else " of their scale"
    yield f"{rates}, latents {latent:g}{relative}"
    if config.mu_schedule == "constant":
        yield f"mu constant at {config.mu_start:g}"
    else:
        yield f"mu from {config.mu_start:g} to {config.mu_end:g}"


def _remedies(config: TrainConfig, images: int, per_epoch: int) -> Iterator[str]:
    if (
        config.limit_train_batches is not None
        and config.limit_train_batches * config.images_per_step < images
    ):
        yield "a larger --limit-train-batches"
    yield f"--epochs {math.ceil(_FEW_STEPS / per_epoch)} or more"
    if config.images_per_step > 8:
        yield "a smaller --batch-size"
    if config.init is None and config.setting != "fp":
        yield "--init RUN to start from a full-precision run"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}, or {words[-1]}"
