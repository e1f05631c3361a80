"""Training speed of ResNet-20, one run alone and several at once.

    python benchmarks/training_speed.py --data FOLDER [--accelerator gpu] [--compile] [--processes 1 2 4]

Each process is a ``proxconnect train``, as those of ``proxconnect grid --jobs``. A rate is the sum over the
processes of one over the median seconds of an epoch, without the first, in which others still start. Prints
model-epochs per second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from proxconnect.experiments.record import read_history


def model_epochs_per_second(processes: int, options: list[str]) -> float:
    """The rate of so many runs at once.

    Raises:
        SystemExit: a run failed; it has said why.
    """
    environment = dict(os.environ)
    if processes > 1:
        environment["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / str(index) for index in range(processes)]
        train = [sys.executable, "-m", "proxconnect", "train", *options]
        started = [
            subprocess.Popen(
                [*train, "--seed", str(index), "--out", str(run)], env=environment, stdout=subprocess.DEVNULL
            )
            for index, run in enumerate(runs)
        ]
        if any([process.wait() for process in started]):
            raise SystemExit("a run failed; nothing is measured")
        return sum(1 / statistics.median(read_history(run)["epoch_seconds"][1:]) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--method", default="bnn++")
    parser.add_argument("--epochs", type=int, default=4, help="at least 2")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--limit-train-batches", help="a part of an epoch, for a trial")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.epochs < 2:
        parser.error("--epochs must be at least 2: the first one is left out")
    options = ["--model", "resnet20", "--data", given.data, "--method", given.method]
    options += ["--epochs", str(given.epochs), "--accelerator", given.accelerator]
    if given.compile:
        options.append("--compile")
    if given.limit_train_batches:
        options += ["--limit-train-batches", given.limit_train_batches]
    rates = {processes: model_epochs_per_second(processes, options) for processes in given.processes}
    if given.json:
        print(json.dumps(rates))
        return
    for processes, rate in rates.items():
        print(f"{processes} at once: {rate:.4f} model-epochs/s, {processes / rate:.2f} s an epoch of each")


if __name__ == "__main__":
    main()
