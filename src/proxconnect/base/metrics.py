"""The numbers of a training run: their names on screen, how they are written, and which are alarming."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from typing import NamedTuple

_NO_BREAK = "\N{NO-BREAK SPACE}"
_HALF, _EARLY, _END = 0.5, 0.25, 1.0
# The largest share of the images that packing may cost: roundings decide about a few images.
_LOST = 0.02


class Metric(NamedTuple):
    """A number of an epoch or of some steps.

    Args:
        column: its key in the logs, and its column in ``metrics.csv``.
        title: its name on screen.
        write: turns its value into text.
        shown: False for a number that is on screen only where it is alarming.
    """

    column: str
    title: str
    write: Callable[[float], str]
    shown: bool = True


class Alarm(NamedTuple):
    """A value that a good run does not have.

    Args:
        column: the column of the metric.
        rings: tells whether a value is alarming when a share of the training, from 0 to 1, is done.
        advice: what the value means, and what to do.
    """

    column: str
    rings: Callable[[float, float], bool]
    advice: str


METRICS = (
    Metric("train_loss", "loss", "{:.4f}".format),
    Metric("train_accuracy", "accuracy", "{:.4f}".format),
    Metric("val_loss", "val loss", "{:.4f}".format),
    Metric("val_accuracy", "val accuracy", "{:.4f}".format),
    Metric("mu", "mu", "{:.4g}".format),
    Metric("flip_rate", "flips", "{:.2%}".format),
    # Both grow to 100 % in a good run.
    Metric("level_distance", "binary", lambda distance: f"{max(0.0, 1 - distance):.1%}"),
    Metric("gradient_killed", "settled", "{:.1%}".format),
    Metric("overflow_rate", "overflows", "{:.2%}".format),
    Metric("epoch_seconds", "seconds", "{:.0f}".format),
    Metric("data_share", "data", "{:.0%}".format, shown=False),
)

ALARMS = (
    Alarm(
        "train_loss",
        lambda loss, done: not math.isfinite(loss),
        "training has diverged; lower lr",
    ),
    Alarm(
        "val_loss",
        lambda loss, done: not math.isfinite(loss),
        "the network overflows on validation images; lower lr",
    ),
    Alarm(
        "flip_rate",
        lambda rate, done: rate < 1e-4 and done <= _HALF,
        "hardly a weight changes its sign, though half of the training is still to come; raise latent_lr, or "
        "lower mu_start",
    ),
    Alarm(
        "level_distance",
        lambda distance, done: distance > 0.1 and done >= _END,
        "the weights end far from their levels, so the packed network will differ from the trained one; "
        "raise mu_end",
    ),
    Alarm(
        "gradient_killed",
        lambda share, done: share > 0.95 and done <= _EARLY,
        "nearly all weights are fixed before they could learn; lower mu_start, or train longer",
    ),
    Alarm(
        "overflow_rate",
        lambda rate, done: rate > 0.01,
        "sums do not fit their accumulators; raise accumulator_bits or overflow_penalty",
    ),
    Alarm(
        "data_share",
        lambda share, done: share > 0.5,
        "most of the time goes into reading and augmenting images, not into training",
    ),
)


def metrics_line(
    head: str, values: Mapping[str, float], *, done: float | None = None, width: int | None = None
) -> str:
    """Write the numbers of a training run in one line, with ``(alarm)`` behind each that is alarming.

    Args:
        head: the beginning of the line, such as ``"epoch 3/20"``.
        values: numbers by the columns of :data:`METRICS`; other keys are passed over.
        done: the share of the training that is done, from 0 to 1; with None nothing is marked.
        width: columns of the terminal; the line is broken between its numbers. None never breaks it.

    >>> print(metrics_line("epoch 1/8", {"train_loss": 2.3, "mu": 1.0, "flip_rate": 0.0}, done=1 / 8))
    epoch 1/8  loss 2.3000  mu 1  flips 0.00% (alarm)
    >>> print(metrics_line("epoch 8/8", {"level_distance": 0.001, "gradient_killed": 0.98}, done=1.0))
    epoch 8/8  binary 99.9%  settled 98.0%
    """
    alarming = {} if done is None else find_alarms(values, done)
    parts = [head] if head else []
    for metric in METRICS:
        if metric.column in alarming:
            parts.append(f"{_said(metric, values)} (alarm)")
        elif metric.column in values and metric.shown:
            parts.append(_said(metric, values))
    unbroken = "  ".join(part.replace(" ", _NO_BREAK) for part in parts)
    return _broken(unbroken, width, indent=len(head) + 2)


def find_alarms(values: Mapping[str, float], done: float, *, width: int | None = None) -> dict[str, str]:
    """Find the alarming numbers of a training run, and say what each means and what to do.

    Args:
        values: numbers by the columns of :data:`METRICS`.
        done: the share of the training that is done, from 0 to 1.
        width: columns of the terminal, in which the texts are broken; None gives one line each.

    Returns:
        A text for each alarming number, by its column.

    >>> find_alarms({"flip_rate": 0.01, "level_distance": 0.4}, done=0.5)
    {}
    >>> print(find_alarms({"level_distance": 0.4}, done=1.0)["level_distance"].partition(";")[0])
    alarm: binary 60.0%: the weights end far from their levels, so the packed network will differ from the
    trained one
    """
    titles = {metric.column: metric for metric in METRICS}
    return {
        alarm.column: _broken(
            f"alarm: {_said(titles[alarm.column], values)}: {alarm.advice}", width, indent=len("alarm: ")
        )
        for alarm in ALARMS
        if alarm.column in values and alarm.rings(values[alarm.column], done)
    }


def packed_lines(trained: float, packed: float) -> str:
    """Write the accuracies of a network as trained and packed, with an alarm if packing costs accuracy.

    Args:
        trained: share of the validation images that the trained network has right.
        packed: the same of the packed network.

    >>> print(packed_lines(0.9134, 0.9128))
    validation accuracy: trained 0.9134, packed 0.9128
    """
    line = f"validation accuracy: trained {trained:.4f}, packed {packed:.4f}"
    lost = trained - packed
    if lost <= _LOST:
        return line
    return (
        f"{line} (alarm)\nalarm: packing cost {100 * lost:.1f} points: the weights are far from their levels "
        "(raise mu_end), or BatchNorm holds the statistics of the weights before (train with recalibrate)"
    )


def _said(metric: Metric, values: Mapping[str, float]) -> str:
    return f"{metric.title} {metric.write(values[metric.column])}"


def _broken(text: str, width: int | None, indent: int) -> str:
    """Break ``text`` at its plain spaces, and make plain spaces of the others."""
    if width is not None:
        text = textwrap.fill(
            text,
            max(width, 2 * indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return text.replace(_NO_BREAK, " ")
