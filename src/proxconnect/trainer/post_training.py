"""Binarization after training: a run of no epochs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch
from torch import nn

from proxconnect._files import written_whole
from proxconnect.data import Batches, ImageData
from proxconnect.layers import recalibrate_
from proxconnect.trainer.checkpoint import FILE_NAME, DataFacts, facts_to_save
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.evaluate import evaluate

# Enough for the statistics of a BatchNorm.
_CALIBRATION_BATCHES = 100


def quantize_trained(
    model: nn.Module, config: TrainConfig, data: ImageData, facts: DataFacts, out: Path
) -> dict[str, float]:
    """Settle the BatchNorm of a trained and just binarized ``model``, in place; write its checkpoint.

    The statistics are those of 100 batches of training images, without augmentation.

    Returns:
        The metrics on validation images.
    """
    train = Batches(
        data.train, config.batch_size, mean=data.mean, std=data.std, shuffle=True, seed=config.seed
    )
    if any(isinstance(each, nn.BatchNorm2d) for each in model.modules()):
        batches = config.limit_train_batches or _CALIBRATION_BATCHES
        recalibrate_(model, (images for images, _ in islice(train, batches)))
    val = Batches(data.val, config.batch_size, mean=data.mean, std=data.std)
    found = evaluate(model.eval(), islice(val, config.limit_val_batches))
    metrics = {"val_accuracy": found.accuracy, "val_loss": found.loss}
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    with written_whole(out / FILE_NAME) as file:
        torch.save({"state_dict": weights, "epoch": -1, **facts_to_save(config, facts, metrics)}, file)
    return metrics
