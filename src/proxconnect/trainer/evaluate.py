"""Accuracy of a classifier on labelled batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Share of correct answers, mean cross-entropy in nats, and how many images they stand for."""

    accuracy: float
    loss: float
    images: int

    def to_dict(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)


@torch.inference_mode()
def evaluate(network: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Run ``network`` over ``batches`` of (images, labels).

    Raises:
        DataError: there is no batch.

    >>> import torch
    >>> evaluate(lambda x: x, [(torch.eye(3), torch.tensor([0, 1, 1]))]).accuracy
    0.6666666666666666
    """
    correct, loss, images = 0, 0.0, 0
    for inputs, labels in batches:
        logits = network(inputs)
        correct += int((logits.argmax(dim=1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        images += len(labels)
    if not images:
        raise DataError("there are no images to evaluate on")
    return Evaluation(correct / images, loss / images, images)
