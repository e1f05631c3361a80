"""Time whole packed networks beside the same architecture in PyTorch, ONNX Runtime and OpenVINO.

    python benchmarks/models.py

Networks run on one image at a time, and on batches of 32. Every round runs the packed network at each level
of precision, the network that was never binarized in PyTorch, plain and compiled, and that in the other
engines, in float32 and in int8; ratios are taken round by round.
The weights are random, since they do not change the amount of work. The script needs
``pip install "proxconnect[bench]"``. It puts the figures of this machine beside those of others in
``docs/results/data/models.json``, and writes ``models.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _results import add_run
from _rounds import ROUNDS, Run, machine, median_interval, ratio, rounds
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.engine import active_kernels
from proxconnect.models import create_model
from proxconnect.timing._peers import ENGINES, engine_runs, torch_runs

NO_OPTIONS: dict[str, str] = {}
BI_REAL = {"block": "bireal", "nonlinearity": "rprelu"}


class Case(NamedTuple):
    """A network, its setting and its levels of precision; ``options`` are options of the model."""

    model: str
    image_size: int
    classes: int
    setting: str
    precisions: tuple[str, ...]
    options: dict[str, str] = NO_OPTIONS


LEVELS = ("exact", "fast", "fastest")
CASES = (
    Case("resnet20", 32, 10, "bw", LEVELS[:2]),
    Case("resnet20", 32, 10, "bwa", LEVELS[:1], BI_REAL),
    Case("resnet18", 224, 1000, "bw", LEVELS[:2]),
    Case("resnet18", 224, 1000, "bwa", LEVELS[:2], BI_REAL),
    Case("deit-tiny", 224, 1000, "bw", LEVELS),
    Case("deit-tiny", 224, 1000, "bwa", LEVELS[:2]),
    Case("deit-base", 224, 1000, "bw", LEVELS),
    Case("deit-base", 224, 1000, "bwa", LEVELS[:2]),
)
PEERS = ("torch float32", "torch channels_last", "torch.compile")
PEERS += tuple(f"{engine} {kind}" for engine in ENGINES for kind in ("float32", "int8"))
INT8 = tuple(f"{engine} int8" for engine in ENGINES)


def torch_peers(plain: nn.Module, images: Tensor) -> dict[str, Run]:
    """Return runs of the network in PyTorch: as it is, in channels_last, and compiled with frozen weights."""
    compiled = torch.compile(plain, dynamic=False, options={"freezing": True})
    runs = [*torch_runs(plain, (images,)).values(), partial(compiled, images)]
    return dict(zip(PEERS, runs, strict=False))


def packed_runs(case: Case, images: Tensor) -> dict[str, Run]:
    """Return a run of the packed network at each level of precision."""
    with tempfile.TemporaryDirectory() as folder:
        size = case.image_size
        binary = create_model(case.model, classes=case.classes, image_size=size, **case.options).eval()
        binary = pc.binarize_(binary, pc.BinarizeConfig.from_setting(case.setting))
        path = pc.save(binary, Path(folder) / "model.safetensors", images)
        networks = {precision: pc.load(path, precision=precision) for precision in case.precisions}
    return {name: partial(network, images) for name, network in networks.items()}


def measure(case: Case, batch: int, threads: int, count: int) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.compiler.reset()
    size = case.image_size
    plain = create_model(case.model, classes=case.classes, image_size=size, **case.options).eval()
    images = torch.randn(batch, 3, size, size)
    with torch.inference_mode(), engine_runs(plain, (images,), ENGINES) as (others, refusals):
        assert not refusals, refusals
        times = rounds(packed_runs(case, images) | torch_peers(plain, images) | others, count)
    best = [min(pair) for pair in zip(*(times[name] for name in INT8), strict=True)]
    found = [row_of(case, batch, threads, precision, times, best) for precision in case.precisions]
    for row in found:
        print(*cells(row), sep="  ", flush=True)
    return found


def row_of(
    case: Case, batch: int, threads: int, precision: str, times: dict[str, list[float]], best: list[float]
) -> dict[str, Any]:
    packed = times[precision]
    shown = {"packed": packed, **{peer: times[peer] for peer in PEERS}}
    return {
        "model": case.model,
        "image": case.image_size,
        "packed_as": f"{case.setting}, {precision}",
        "options": case.options,
        "batch": batch,
        "threads": threads,
        "milliseconds": {
            name: [value * 1e3 for value in median_interval(seconds)] for name, seconds in shown.items()
        },
        "faster_than": {
            "torch float32": ratio(times["torch float32"], packed),
            "best int8": ratio(best, packed),
        },
    }


def cells(row: dict[str, Any]) -> list[str]:
    medians = (f"{middle:.2f}" for middle, _, _ in row["milliseconds"].values())
    ratios = (f"{low:.2f} to {high:.2f}" for _, low, high in row["faster_than"].values())
    sizes = (str(row[name]) for name in ("image", "batch", "threads"))
    return [row["model"], row["packed_as"], *sizes, *medians, *ratios]


INTRODUCTION = """\
# Latency of packed networks

One image at a time, or a batch. Medians of interleaved rounds, ratios as 95 % intervals, a table for
each machine.
`benchmarks/models.py` makes this page.

- *Packed* is the file on its kernels, at a level of `pc.load(path, precision=...)`. The first and
  the last layer are not binarized.
- The others are the network before it is binarized. *torch float32* has the default memory format.
  *torch.compile* froze the weights.
- *best int8* is the faster of ONNX Runtime and OpenVINO in int8, round by round. OpenVINO computes
  its float32 in bfloat16 where the processor multiplies tiles.
- Other programs ran on the machine meanwhile: ratios say more than times.
- In `bwa` the ResNets have Bi-Real blocks and RPReLU, in all engines.
"""


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    return "\n".join([INTRODUCTION, *map(section, result["runs"])])


def section(run: dict[str, Any]) -> str:
    first = run["rows"][0]
    head = ["network", "packed as", "image", "batch", "threads"]
    head += [f"{name}, ms" for name in first["milliseconds"]]
    head += [f"x {peer}" for peer in first["faster_than"]]
    about = f"Kernel set {run['kernels']}, {', '.join(run['versions'])}; {run['rounds']} rounds."
    batches = batches_of(run)
    many = "" if batches == [1] else f", batches of {' and '.join(map(str, batches))}"
    return f"## {run['machine']}{many}\n\n{about}\n\n{Table(head, map(cells, run['rows'])).markdown()}\n"


def batches_of(run: dict[str, Any]) -> list[int]:
    return sorted({row["batch"] for row in run["rows"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    names = list(dict.fromkeys(case.model for case in CASES))
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    run: dict[str, Any] = {
        "machine": machine(),
        "kernels": active_kernels(),
        "versions": [f"{name} {version(name)}" for name in ("torch", *ENGINES)],
        "rounds": arguments.rounds,
        "rows": [
            row
            for batch in arguments.batches
            for threads in arguments.threads
            for case in CASES
            if case.model in arguments.networks
            for row in measure(case, batch, threads, arguments.rounds)
        ],
    }
    if arguments.dry:
        return
    add_run("models", run, lambda run: (run["machine"], run["kernels"], batches_of(run)), page)


if __name__ == "__main__":
    main()
