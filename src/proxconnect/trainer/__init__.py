"""Training runs of image classifiers on Lightning, with tools that serve any training loop."""

from __future__ import annotations

from proxconnect.optim import latent_histogram, layer_statistics, weight_gradients
from proxconnect.trainer._process import is_main_process
from proxconnect.trainer.checkpoint import Checkpoint, read_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.distill import Distillation
from proxconnect.trainer.evaluate import (
    Evaluation,
    class_scores,
    evaluate,
    evaluate_images,
    evaluate_split,
    split_for,
)
from proxconnect.trainer.origin import origin
from proxconnect.trainer.recipe import read_recipe
from proxconnect.trainer.run import TrainedRun, resume, train
from proxconnect.trainer.sensitivity import LayerSensitivity, Sensitivity, sensitivity
from proxconnect.trainer.stages import Stage

__all__ = [
    "Checkpoint",
    "Distillation",
    "Evaluation",
    "LayerSensitivity",
    "Sensitivity",
    "Stage",
    "TrainConfig",
    "TrainedRun",
    "class_scores",
    "evaluate",
    "evaluate_images",
    "evaluate_split",
    "is_main_process",
    "latent_histogram",
    "layer_statistics",
    "origin",
    "read_checkpoint",
    "read_recipe",
    "resume",
    "sensitivity",
    "split_for",
    "train",
    "weight_gradients",
]
