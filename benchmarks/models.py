"""Time whole packed networks beside the same networks unpacked and in PyTorch's float32.

    python benchmarks/models.py

Networks run on one image at a time. Every round runs the packed network on its kernels, the same file with
``kernels="reference"``, which unpacks each weight at each use, and the network that was never binarized, one
after the other; ratios are taken round by round. The weights are random, since they do not change the amount
of work. The script writes ``docs/results/data/models.json`` and the table ``docs/results/models.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _rounds import ROUNDS, Run, machine, median_interval, ratio, rounds

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.engine import active_kernels
from proxconnect.models import create_model

RESULTS = Path("docs/results")
NO_OPTIONS: dict[str, str] = {}
BI_REAL = {"block": "bireal", "nonlinearity": "rprelu"}


class Case(NamedTuple):
    """A network, its setting and its activations; ``options`` are options of the model."""

    model: str
    image_size: int
    classes: int
    setting: str
    activations: str | None = None
    options: dict[str, str] = NO_OPTIONS

    @property
    def packed_as(self) -> str:
        return self.setting + (f", {self.activations}" if self.activations else "")


CASES = (
    Case("resnet20", 32, 10, "bw"),
    Case("resnet20", 32, 10, "bwa", options=BI_REAL),
    Case("resnet18", 224, 1000, "bw"),
    Case("resnet18", 224, 1000, "bwa", options=BI_REAL),
    Case("deit-tiny", 224, 1000, "bw"),
    Case("deit-tiny", 224, 1000, "bw", "int8"),
    Case("deit-tiny", 224, 1000, "bw", "int6"),
    Case("deit-tiny", 224, 1000, "bwa"),
)


def contenders(case: Case) -> dict[str, Run]:
    """Return the runs to measure, the packed network first."""
    torch.manual_seed(0)
    size = case.image_size
    plain = create_model(case.model, classes=case.classes, image_size=size, **case.options).eval()
    image = torch.randn(1, 3, size, size)
    with tempfile.TemporaryDirectory() as folder:
        binary = create_model(case.model, classes=case.classes, image_size=size, **case.options).eval()
        binary = pc.binarize_(binary, pc.BinarizeConfig.from_setting(case.setting))
        path = pc.save(binary, Path(folder) / "model.safetensors", image)
        packed = pc.load(path, activations=case.activations)
        unpacked = pc.load(path, kernels="reference")
    return {
        "packed": lambda: packed(image),
        "unpacked": lambda: unpacked(image),
        "torch float32": lambda: plain(image),
    }


def measure(case: Case, threads: int, count: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        times = rounds(contenders(case), count)
    row = {
        "model": case.model,
        "image": case.image_size,
        "packed_as": case.packed_as,
        "options": case.options,
        "threads": threads,
        "milliseconds": {
            name: [value * 1e3 for value in median_interval(seconds)] for name, seconds in times.items()
        },
        "faster_than": {peer: ratio(times[peer], times["packed"]) for peer in times if peer != "packed"},
    }
    print(*cells(row), sep="  ", flush=True)
    return row


def cells(row: dict[str, Any]) -> list[str]:
    medians = (f"{middle:.2f}" for middle, _, _ in row["milliseconds"].values())
    ratios = (f"{low:.2f} to {high:.2f}" for _, low, high in row["faster_than"].values())
    return [row["model"], row["packed_as"], str(row["image"]), str(row["threads"]), *medians, *ratios]


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    first = result["rows"][0]
    head = ["network", "packed as", "image", "threads", *(f"{name}, ms" for name in first["milliseconds"])]
    head += [f"x {peer}" for peer in first["faster_than"]]
    lines = [
        "# Latency of packed networks",
        "",
        f"{result['machine']}; kernel set {result['kernels']}, "
        f"PyTorch {result['torch']}; one image; medians of "
        f"{result['rounds']} interleaved rounds, ratios as 95 % intervals. `benchmarks/models.py` makes this "
        "page.",
        "",
        "- *Packed* is the file on its kernels. The first and the last layer stay in float32.",
        '- *Unpacked* is the same file with `kernels="reference"`.',
        "- *torch float32* is the network before it is binarized, in PyTorch's default memory format.",
        "- In `bwa` the ResNets have Bi-Real blocks and RPReLU, in *torch float32* too.",
        "",
        Table(head, map(cells, result["rows"])).markdown(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "machine": machine(),
        "kernels": active_kernels(),
        "torch": torch.__version__,
        "rounds": arguments.rounds,
        "rows": [measure(case, threads, arguments.rounds) for case in CASES for threads in arguments.threads],
    }
    if arguments.dry:
        return
    with written_whole(RESULTS / "data" / "models.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with written_whole(RESULTS / "models.md") as file:
        file.write_text(page(result))


if __name__ == "__main__":
    main()
