"""The line of numbers of a training run, at every width, and the alarms in it."""

from __future__ import annotations

import math

import pytest
from looking import every

from proxconnect.base.metrics import ALARMS, METRICS, find_alarms, metrics_line, packed_lines

GOOD = {
    "train_loss": 0.2, "train_accuracy": 0.95, "val_loss": 0.3, "val_accuracy": 0.92, "mu": 300.0,
    "flip_rate": 0.0002, "level_distance": 0.0008, "gradient_killed": 0.99, "overflow_rate": 0.0002,
    "epoch_seconds": 12.0, "data_share": 0.02, "outside_exact": 0.99,
}  # fmt: skip


def test_a_good_end_reads_as_one() -> None:
    assert metrics_line("epoch 9/9", GOOD, done=1.0) == (
        "epoch 9/9  loss 0.2000  accuracy 0.9500  val loss 0.3000  val accuracy 0.9200  mu 300  flips 0.02%  "
        "binary 99.9%  settled 99.0%  overflows 0.02%  seconds 12"
    )
    assert find_alarms(GOOD, 1.0) == {}


def test_numbers_that_a_run_does_not_have_are_left_out() -> None:
    assert metrics_line("step 7", {"train_loss": 1.0, "layer/x": 3.0}) == "step 7  loss 1.0000"
    assert metrics_line("", {"mu": 1.0}) == "mu 1"


@pytest.mark.parametrize("width", [80, 120])
def test_lines_break_between_numbers_alone(width: int) -> None:
    values = {**GOOD, "overflow_rate": 0.5}
    whole, broken = (
        metrics_line("epoch 19/20", values, done=0.9, width=columns) for columns in (None, width)
    )
    lines = broken.split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert every(line.startswith(" " * 13) for line in lines[1:])
    assert "  ".join(line.strip() for line in lines) == whole
    assert "overflows 50.00% (alarm)" in whole
    assert every("\n" not in text for text in find_alarms(values, 0.9).values())
    assert every(
        len(line) <= width for line in find_alarms(values, 0.9, width=width)["overflow_rate"].split("\n")
    )


# The value that is alarming, one that is not, and the shares of training at which it is and is not.
CASES = [
    ("train_loss", math.nan, 2.3, 0.1, None),
    ("train_loss", math.inf, 2.3, 1.0, None),
    ("val_loss", math.nan, 2.3, 0.6, None),
    ("flip_rate", 0.0, 0.001, 0.5, 0.6),
    ("level_distance", 0.2, 0.03, 1.0, 0.9),
    ("gradient_killed", 0.99, 0.9, 0.25, 0.3),
    ("overflow_rate", 0.02, 0.005, 0.5, None),
    ("data_share", 0.6, 0.4, 0.5, None),
]


@pytest.mark.parametrize(("column", "bad", "good", "when", "otherwise"), CASES)
def test_alarms(column: str, bad: float, good: float, when: float, otherwise: float | None) -> None:
    line = metrics_line("", {column: bad}, done=when)
    assert line.endswith(" (alarm)")
    assert find_alarms({column: bad}, when)[column].startswith(f"alarm: {line.removesuffix(' (alarm)')}: ")
    assert find_alarms({column: good}, when) == {}
    assert "alarm" not in metrics_line("", {column: bad})
    if otherwise is not None:
        assert find_alarms({column: bad}, otherwise) == {}


@pytest.mark.parametrize(("packed", "lost"), [(0.8, "5.0 points"), (0.84, None), (0.9, None)])
def test_packing_that_costs_accuracy_is_alarming(packed: float, lost: str | None) -> None:
    first, *rest = packed_lines(0.85, packed).split("\n")
    assert first.startswith(f"validation accuracy: trained 0.8500, packed {packed:.4f}")
    assert first.endswith("(alarm)") is (lost is not None)
    assert [line.partition(" cost ")[2].partition(":")[0] for line in rest] == ([lost] if lost else [])


def test_every_alarm_has_a_case() -> None:
    assert {alarm.column for alarm in ALARMS} == {column for column, *_ in CASES}
    assert {alarm.column for alarm in ALARMS} <= {metric.column for metric in METRICS}
