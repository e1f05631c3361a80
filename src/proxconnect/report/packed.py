"""The packed file of a run: its answers on held-out images, its layers and its speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from proxconnect.engine import Network
from proxconnect.errors import ProxConnectError
from proxconnect.packing import load
from proxconnect.report.runs import Run
from proxconnect.summaries import Summary, summary
from proxconnect.timing import Bench, bench
from proxconnect.trainer import Evaluation, evaluate_images, split_for


@dataclass(frozen=True)
class Sample:
    """An image (uint8, (C, H, W)), its class, and the class and probability that the network answers."""

    image: Tensor
    true: str
    answer: str
    probability: float

    @property
    def right(self) -> bool:
        """True if the answer is the class of the image."""
        return self.true == self.answer


@dataclass(frozen=True)
class Answers:
    """The answers of a network on one split of a data set, and some samples of them."""

    data: str
    split: str
    classes: tuple[str, ...]
    evaluation: Evaluation
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Examined:
    """Facts of a packed file; ``notes`` say why a part is missing."""

    layers: Summary | None
    answers: Answers | None
    speed: Bench | None
    notes: tuple[str, ...]


def examine(run: Run, *, data: str | None, split: str, samples: int, rounds: int) -> Examined:
    """Load the packed file of a run, evaluate it, and time it.

    Args:
        run: the run.
        data: the data set; None for that of the run.
        split: "val" or "test".
        samples: the largest number of sample predictions.
        rounds: rounds of timing; 0 leaves the speed out.

    Returns:
        What was found. A part that a missing file or data set prevents is None, and a note says why.
    """
    file = run.packed_file
    if file is None:
        return Examined(None, None, None, ("The run is not finished: there is no packed file yet.",))
    notes = []
    try:
        network, layers = load(file), summary(file)
    except ProxConnectError as error:
        return Examined(None, None, None, (f"The packed file is not read: {error}.",))
    answers = speed = None
    try:
        answers = _answers(network, run, data, split, samples)
    except ProxConnectError as error:
        notes.append(f"There is no confusion matrix, and there are no sample predictions: {error}.")
    if rounds:
        try:
            speed = bench(file, rounds=rounds)
        except ProxConnectError as error:
            notes.append(f"The network is not timed: {error}.")
    return Examined(layers, answers, speed, tuple(notes))


def _answers(network: Network, run: Run, data: str | None, split: str, samples: int) -> Answers:
    own = data is None or run.config.same_data(data)
    source = data or str(run.config.data)
    images = split_for(network, source, split, run.config.split if own else None)
    evaluation, scores = evaluate_images(network, images)
    classes = tuple(network.classes or map(str, range(scores.shape[1])))
    probabilities, labels = scores.softmax(dim=1).max(dim=1)
    chosen = [
        Sample(
            images.images[row],
            classes[int(images.labels[row])],
            classes[int(labels[row])],
            float(probabilities[row]),
        )
        for row in sample_rows(labels == images.labels, probabilities, samples)
    ]
    return Answers(Path(source).name or source, split, classes, evaluation, tuple(chosen))


def sample_rows(right: Tensor, probabilities: Tensor, count: int) -> list[int]:
    """Choose rows to show: the surest wrong answers, about half of ``count``, then right ones from all over.

    Args:
        right: bool (N,), whether the answer is right.
        probabilities: float (N,), the probability of the answer.
        count: the number of rows, if there are so many.

    >>> right = torch.tensor([True, False, True, False, True, True])
    >>> sample_rows(right, torch.tensor([0.9, 0.6, 0.8, 0.7, 0.5, 0.4]), 4)
    [3, 1, 0, 5]
    """
    wrong, correct = (rows.nonzero().flatten() for rows in (~right, right))
    surest = wrong[probabilities[wrong].argsort(descending=True, stable=True)]
    share = min(len(surest), max(count // 2, count - len(correct)))
    spread = min(count - share, len(correct))
    places = torch.linspace(0, max(0, len(correct) - 1), spread, dtype=torch.float64, device="cpu").round()
    return [*surest[:share].tolist(), *correct[places.long()].tolist()]
