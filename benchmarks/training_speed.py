"""Time a training step in each precision and memory layout, and the part of the data in it.

    python benchmarks/training_speed.py --data FOLDER [--threads 1]

A step is forward, backward, optimizer and schedule of ResNet-20 with 128 images. All forms of a network run
in one process, one step each per round. The data's share is the time to choose, augment and normalise a
batch over the time of the whole step in the fastest form. The script puts the figures of this machine beside
those of others in ``docs/results/data/training_speed.json``, and writes ``docs/results/training_speed.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch
from _results import add_run
from _rounds import machine, median_interval, ratio
from torch.nn import functional

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.data import Batches, load_data
from proxconnect.models import create_model
from proxconnect.trainer.precision import computing_in

ROUNDS, WARM_UP = 30, 4
SETTINGS = ("fp", "bw", "bwa")
SIZES = (32, 16)
# precision, channels_last, compiled
FORMS = {
    "float32, channels first": ("32", False, False),
    "float32, channels_last": ("32", True, False),
    "bfloat16, channels_last": ("bf16", True, False),
    "float32, channels_last, compiled": ("32", True, True),
}
PLAIN = "float32, channels first"
DATA_BAR = 0.05


class Step:
    """One training step of one network in one form, ready to be repeated."""

    def __init__(self, setting: str, size: int, form: str) -> None:
        self.precision, self.channels_last, compiled = FORMS[form]
        torch.manual_seed(0)
        options = {"block": "bireal", "nonlinearity": "rprelu"} if setting == "bwa" else {}
        self.network = create_model("resnet20", classes=10, image_size=size, **options)
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.schedule = None
        if setting != "fp":
            pc.binarize_(self.network, pc.BinarizeConfig.from_setting(setting, method="bnn++"))
            self.schedule = pc.MuSchedule(self.network, start=1, end=300, steps=10_000)
        self.optimizer = torch.optim.Adam(pc.param_groups(self.network, lr=1e-3), fused=True)
        self.forward = torch.compile(self.network, dynamic=False) if compiled else self.network

    def seconds(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        if not self.channels_last:
            images = images.contiguous()
        start = time.perf_counter()
        self.optimizer.zero_grad()
        with computing_in(self.precision, images.device):
            logits = self.forward(images)
        functional.cross_entropy(logits.float(), labels).backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return time.perf_counter() - start


def endless(batches: Batches) -> Iterator[tuple[float, Any]]:
    """Yield full batches, each with the seconds in which it was made."""
    epoch = 0
    while True:
        batches.set_epoch(epoch)
        iterator = iter(batches)
        for _ in range(len(batches)):
            start = time.perf_counter()
            batch = next(iterator)
            yield time.perf_counter() - start, batch
        epoch += 1


def measured(setting: str, data: str, size: int, rounds: int) -> dict[str, Any]:
    """Measure the seconds of a step in each form, and of a batch."""
    torch.compiler.reset()  # what was compiled for images of another size
    print(f"{setting} at {size}x{size}", flush=True)
    found = load_data(data, image_size=size)
    batches = endless(
        Batches(
            found.train,
            128,
            mean=found.mean,
            std=found.std,
            augmentation=found.augmentation,
            shuffle=True,
            drop_last=True,
        )
    )
    steps = {form: Step(setting, size, form) for form in FORMS}
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    data_seconds = []
    for round_number in range(WARM_UP + rounds):
        spent, (images, labels) = next(batches)
        for form, step in steps.items():
            seconds = step.seconds(images, labels)
            if round_number >= WARM_UP:
                times[form].append(seconds)
        if round_number >= WARM_UP:
            data_seconds.append(spent)
    fastest = min(times, key=lambda form: median_interval(times[form])[0])
    step_and_data = [a + b for a, b in zip(times[fastest], data_seconds, strict=True)]
    return {
        "setting": setting,
        "size": size,
        "milliseconds": {
            form: [1000 * value for value in median_interval(seconds)] for form, seconds in times.items()
        },
        "faster_than_plain": {form: ratio(times[PLAIN], seconds) for form, seconds in times.items()},
        "data_share": ratio(data_seconds, step_and_data),
    }


INTRODUCTION = """\
# How long a training step takes

A step is forward, backward, optimizer and schedule of ResNet-20 with 128 images and `bnn++`. All forms of a
network run in one process, one step each per round; times are medians, ratios are to *{plain}* with
95 % intervals. Compiled steps are rounded otherwise. In `bwa`, products of 1-bit activations stay float32.
Whether bfloat16 is faster depends on the processor: `proxconnect train --precision auto` times it.
`benchmarks/training_speed.py` makes this page.
"""


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    return "\n".join([INTRODUCTION.format(plain=PLAIN), *map(section, result["runs"])])


def section(run: dict[str, Any]) -> str:
    rows = []
    for row in run["rows"]:
        for form, (milliseconds, _, _) in row["milliseconds"].items():
            middle, low, high = row["faster_than_plain"][form]
            size = f"{row['size']}x{row['size']}"
            faster = [f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
            rows.append([f"`{row['setting']}`", size, form, f"{milliseconds:.0f}", *faster])
    columns = ("setting", "images", "form", "ms a step", "times as fast", "95 % interval")
    shares = [row["data_share"] for row in run["rows"]]
    least, most = (100 * bound(share[0] for share in shares) for bound in (min, max))
    within = "within" if all(high <= DATA_BAR for _, _, high in shares) else "not within"
    return f"""\
## {run["machine"]}

PyTorch {run["torch"]}, {run["threads"]} thread(s), {run["rounds"]} rounds.

{Table(columns, rows).markdown()}

Data and augmentation take {least:.1f} to {most:.1f} % of a step in the fastest form
({within} {100 * DATA_BAR:.0f} %).
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = [measured(setting, given.data, size, given.rounds) for size in SIZES for setting in SETTINGS]
    run = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": given.threads,
        "rounds": given.rounds,
        "rows": rows,
    }
    result = add_run("training_speed", run, lambda run: (run["machine"], run["threads"]), page)
    print(page(result))


if __name__ == "__main__":
    main()
