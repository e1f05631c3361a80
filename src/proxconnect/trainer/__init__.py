"""Training runs of image classifiers, on Lightning."""

from __future__ import annotations

from proxconnect.trainer.checkpoint import Checkpoint, read_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.evaluate import Evaluation, evaluate
from proxconnect.trainer.run import TrainedRun, resume, train

__all__ = [
    "Checkpoint",
    "Evaluation",
    "TrainConfig",
    "TrainedRun",
    "evaluate",
    "read_checkpoint",
    "resume",
    "train",
]
