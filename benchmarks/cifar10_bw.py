"""ResNet-20 on CIFAR-10: full precision, then 1-bit weights fine-tuned from it by three methods.

    python benchmarks/cifar10_bw.py --data FOLDER

Runs the commands of ``docs/results/cifar10_bw.md`` one after the other, in the folder ``runs/cifar10``. A
finished run is not repeated, and an interrupted one is resumed. At the end, every packed file is evaluated on
the test split. The table is printed, and its numbers are written to ``docs/results/data/cifar10_bw.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.trainer import origin

RUNS = Path("runs/cifar10")
RESULTS = Path("docs/results/data/cifar10_bw.json")
COMMANDS = {
    "fp": "--setting fp --epochs 15",
    "bc": f"--setting bw --method bc --epochs 10 --init {RUNS}/fp",
    "bnn+": f"--setting bw --method bnn+ --epochs 10 --init {RUNS}/fp",
    "bnn++": f"--setting bw --method bnn++ --epochs 10 --init {RUNS}/fp",
}


def proxconnect(*arguments: str) -> str:
    """Run one command, show its progress, and return its output."""
    command = [sys.executable, "-m", "proxconnect", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def train(name: str, data: str) -> None:
    """Train ``name``, or finish its training."""
    folder = RUNS / name
    if (folder / "result.json").exists():
        return
    if (folder / "checkpoint").exists():
        proxconnect("train", "--resume", str(folder), "--json")
    else:
        options = COMMANDS[name].split()
        proxconnect("train", "--model", "resnet20", "--data", data, *options, "--out", str(folder), "--json")


def row(name: str, data: str) -> dict[str, Any]:
    """Collect the numbers of one run for the table; accuracies are shares of 1."""
    folder = RUNS / name
    result = json.loads((folder / "result.json").read_text())
    test = json.loads(proxconnect("eval", str(folder / "model.safetensors"), "--data", data, "--json"))
    return {
        "method": name,
        "epochs": result["config"]["epochs"],
        "seed": result["config"]["seed"],
        "val_trained": result["trained"]["accuracy"],
        "val_packed": result["packed"]["accuracy"],
        "test_packed": test["accuracy"],
        "test_images": test["images"],
        "bytes": result["bytes"],
        "ratio": result["ratio"],
        "binarized_layers_ratio": pc.summary(folder / "model.safetensors").binary_ratio,
        "data_share": result["metrics"]["data_share"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write the rows in Markdown."""
    columns = ("method", "epochs", "validation: trained", "packed", "test: packed", "file, bytes", "smaller")
    cells = (
        (
            f"`{run['method']}`",
            str(run["epochs"]),
            *(f"{run[key]:.2%}" for key in ("val_trained", "val_packed", "test_packed")),
            f"{run['bytes']:,}",
            f"{run['ratio']:.1f}x",
        )
        for run in rows
    )
    return Table(columns, cells).markdown()


def main() -> None:
    """Train, evaluate, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--data-name", default="CIFAR-10", help="name of the data in the results")
    parser.add_argument("--report", action="store_true", help="train nothing, report on the finished runs")
    arguments = parser.parse_args()
    if not arguments.report:
        for name in COMMANDS:
            train(name, arguments.data)
    finished = [name for name in COMMANDS if (RUNS / name / "result.json").exists()]
    rows = [row(name, arguments.data) for name in finished]
    report = {
        "data": arguments.data_name,
        "model": "resnet20",
        "machine": origin(),
        "rows": rows,
    }
    with written_whole(RESULTS) as file:
        file.write_text(json.dumps(report, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
