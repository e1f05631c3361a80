"""Settling of BatchNorm for the hardened network, after training or instead of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from proxconnect.data import Batches, ImageData
from proxconnect.layers import recalibrate_
from proxconnect.trainer.checkpoint import DataFacts, facts_to_save, write_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.evaluate import evaluate
from proxconnect.trainer.folder import CHECKPOINT_FILE

# Enough for the statistics of a BatchNorm.
_CALIBRATION_IMAGES = 12_800


def calibration_images(data: ImageData, config: TrainConfig, images: int) -> Iterator[Tensor]:
    """Iterate over batches of training images, augmented as in training.

    A network that was trained on augmented images loses accuracy if BatchNorm is settled on plain ones.

    Args:
        data: the data set.
        config: the configuration of the run; its ``limit_train_batches`` limits these batches too.
        images: the largest number of images.
    """
    train = Batches(
        data.train,
        config.images_per_step,
        mean=data.mean,
        std=data.std,
        augmentation=data.augmentation,
        shuffle=True,
        seed=config.seed,
    )
    batches = config.limit_train_batches or max(1, images // config.images_per_step)
    return (images for images, _ in islice(train, batches))


def settle_(model: nn.Module, config: TrainConfig, data: ImageData) -> None:
    """Give every BatchNorm of ``model`` the statistics of the hardened network, in place.

    The statistics are those of up to 12,800 training images. Latents stay as they are.
    """
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        batches = calibration_images(data, config, _CALIBRATION_IMAGES)
        recalibrate_(model, batches, hardened=config.binarize is not None)


def settle_checkpoint(model: nn.Module, config: TrainConfig, data: ImageData, out: Path) -> None:
    """Settle a trained ``model`` (:func:`settle_`), and the checkpoint of its run in the folder ``out``."""
    settle_(model, config, data)
    content = torch.load(out / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
    write_checkpoint({**content, "state_dict": _weights(model)}, out / CHECKPOINT_FILE)


def quantize_trained(
    model: nn.Module, config: TrainConfig, data: ImageData, facts: DataFacts, out: Path
) -> dict[str, float]:
    """Settle (:func:`settle_`) a trained and then binarized ``model``, and write its checkpoint.

    Returns:
        The metrics on validation images.
    """
    settle_(model, config, data)
    val = Batches(data.val, config.images_per_step, mean=data.mean, std=data.std)
    found = evaluate(model.eval(), islice(val, config.limit_val_batches))
    metrics = {"val_accuracy": found.accuracy, "val_loss": found.loss}
    content = {"state_dict": _weights(model), "epoch": -1, **facts_to_save(config, facts, metrics)}
    write_checkpoint(content, out / CHECKPOINT_FILE)
    return metrics


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {f"model.{name}": value for name, value in model.state_dict().items()}
