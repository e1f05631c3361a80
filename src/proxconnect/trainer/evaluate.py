"""Accuracy of a classifier on labelled batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.data import Batches, ImageSet, check_preprocessing, load_split
from proxconnect.engine import Network
from proxconnect.errors import DataError, ProxConnectError, first_line


@dataclass(frozen=True)
class Evaluation:
    """The share of correct answers, the mean cross-entropy in nats, the number of images and the confusion.

    ``confusion[i][j]`` is the number of images of class ``i`` that the network took for class ``j``.
    """

    accuracy: float
    loss: float
    images: int
    confusion: tuple[tuple[int, ...], ...]

    @property
    def class_accuracies(self) -> tuple[float | None, ...]:
        """The share of correct answers among the images of each class; None for a class without images."""
        return tuple(row[label] / sum(row) if sum(row) else None for label, row in enumerate(self.confusion))

    def to_dict(self) -> dict[str, float | int]:
        """Return accuracy, loss and the number of images as plain values."""
        return {"accuracy": self.accuracy, "loss": self.loss, "images": self.images}


@torch.inference_mode()
def evaluate(network: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Measure accuracy and loss of ``network`` over ``batches`` of (images, labels).

    Raises:
        DataError: there is no batch.

    >>> import torch
    >>> found = evaluate(lambda x: x, [(torch.eye(3), torch.tensor([0, 1, 1]))])
    >>> found.accuracy, found.confusion
    (0.6666666666666666, ((1, 0, 0), (0, 1, 1), (0, 0, 0)))
    """
    loss, images, confusion = 0.0, 0, torch.zeros((), dtype=torch.int64, device="cpu")
    for inputs, labels in batches:
        logits = network(inputs)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        classes = logits.shape[1]
        pairs = torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes * classes)
        confusion = confusion + pairs.view(classes, classes).cpu()
        images += len(labels)
    if not images:
        raise DataError("there are no images to evaluate on")
    counts = tuple(map(tuple, confusion.tolist()))
    return Evaluation(int(confusion.trace()) / images, loss / images, images, counts)


@torch.inference_mode()
def class_scores(network: Network, images: Tensor) -> Tensor:
    """Compute the scores (N, classes) that a packed network gives to images.

    Args:
        network: a network from ``proxconnect.load``.
        images: float32 (N, C, H, W), prepared as the network's file says.

    Raises:
        ProxConnectError: the network cannot be run on the images, or its output has another form.

    >>> import torch, proxconnect as pc
    >>> class_scores(pc.zoo.load("resnet20-cifar10-bw"), torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    what = f"images of shape {tuple(images.shape)}"
    try:
        scores = network(images)
    except ProxConnectError as error:
        raise ProxConnectError(f"the network cannot be run on {what}: {error}") from error
    except Exception as error:  # the operators of a file may raise any error
        raise ProxConnectError(f"the network cannot be run on {what}: {first_line(error)}") from error
    if not (isinstance(scores, Tensor) and scores.is_floating_point() and scores.ndim == 2):
        found = (
            f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        )
        raise ProxConnectError(
            f"the network is no classifier of images: for {what} it gives {found}, expected scores "
            f"[{len(images)}, classes]"
        )
    names = network.classes
    if len(scores) != len(images) or (names is not None and len(names) != scores.shape[1]):
        raise ProxConnectError(
            f"the network gives scores {list(scores.shape)} for {what}, expected [{len(images)}, "
            f"{'classes' if names is None else len(names)}]"
        )
    return scores


def evaluate_split(
    network: Network,
    data: str,
    split: str = "test",
    *,
    batch_size: int = 256,
    val_share: float | None = None,
) -> Evaluation:
    """Measure accuracy and loss of a packed network on one split of a data set.

    Images are prepared as the network's file says, and their classes are compared by name.

    Args:
        network: a network from ``proxconnect.load``.
        data: a folder, or the name of a data set.
        split: "train", "val" or "test".
        batch_size: images per step.
        val_share: share of each class that the network was validated on, of a folder ``<class>/<image>``.

    Raises:
        ProxConnectError: the file does not say how to prepare images, or is not of a classifier of images.
        DataError: the data cannot be read, or has classes that the network does not know.
    """
    return _evaluated(network, split_for(network, data, split, val_share), batch_size, lambda scores: None)


def split_for(network: Network, data: str, split: str, val_share: float | None = None) -> ImageSet:
    """Load one split of a data set in the size, mode and classes of a packed network.

    Args:
        network: a network from ``proxconnect.load``.
        data: a folder, or the name of a data set.
        split: "train", "val" or "test".
        val_share: as for :func:`evaluate_split`.

    Raises:
        ProxConnectError: the file does not say how to prepare images.
        DataError: the data cannot be read, or has classes that the network does not know.
    """
    expected = network.preprocessing
    if expected is None:
        raise ProxConnectError("the file does not say how to prepare images; save it with preprocessing=")
    check_preprocessing(expected)
    return load_split(
        data,
        split,
        image_size=tuple(expected["size"]),
        mode=expected["mode"],
        val_share=val_share,
        classes=network.classes,
    )


def evaluate_images(
    network: Network, images: ImageSet, *, batch_size: int = 256
) -> tuple[Evaluation, Tensor]:
    """Measure accuracy and loss on the images of :func:`split_for`, and keep the scores.

    Args:
        network: the network.
        images: N images.
        batch_size: images per step.

    Returns:
        The evaluation, and the scores (N, classes).

    Raises:
        ProxConnectError: the network is no classifier of such images.
        DataError: the images have a class that the network does not know.
    """
    kept: list[Tensor] = []
    found = _evaluated(network, images, batch_size, kept.append)
    return found, torch.cat(kept)


def _evaluated(
    network: Network, images: ImageSet, batch_size: int, receive: Callable[[Tensor], None]
) -> Evaluation:
    """Evaluate a network on images, and hand the scores of each batch to ``receive``."""
    expected = network.preprocessing
    assert expected is not None, "split_for refuses such a network"
    highest = int(images.labels.max())

    def scores_of_known_classes(inputs: Tensor) -> Tensor:
        scores = class_scores(network, inputs)
        if highest >= scores.shape[1]:
            raise DataError(f"the data have label {highest}, but the network knows {scores.shape[1]} classes")
        receive(scores)
        return scores

    batches = Batches(images, batch_size, mean=expected["mean"], std=expected["std"])
    return evaluate(scores_of_known_classes, batches)
