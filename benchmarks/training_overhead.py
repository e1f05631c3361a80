"""Measure the time and memory that binarization adds to a training step, beside other libraries.

    python benchmarks/training_overhead.py [--peer brevitas|torchao] [--compile]

A step is forward, backward, optimizer and schedule of ResNet-20 (batch 128, 32x32) or DeiT-Tiny (batch 16,
224x224). All networks of a part run in one process, one step each per round, in an order that changes from
round to round. The overhead of a method is the median over the rounds of its time over that of full precision
in the same round, the mean of two networks alike, with a 95 % bootstrap interval. Memory is what autograd
keeps for the backward pass beyond full precision, also in units of what is binarized: the weights and, with
binary activations, the inputs of their layers. ResNet-20 with binary activations has Bi-Real blocks and
RPReLU, in full precision too.

The script writes ``docs/results/data/training_overhead.json`` part by part and
``docs/results/training_overhead.md`` from it, and prints the bars that are met. Parts that are there already
are kept unless ``--again`` is given.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _training_peers import PEERS, Peer
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.layers import activation_quantizers, binarized_weights
from proxconnect.models import create_model
from proxconnect.trainer import origin

RESULTS = Path("docs/results/data/training_overhead.json")
PAGE = Path("docs/results/training_overhead.md")
MODELS = {"resnet20": (128, 32, 10), "deit-tiny": (16, 224, 1000)}  # batch, image size, classes
OPTIONS = {("resnet20", "bwa"): {"block": "bireal", "nonlinearity": "rprelu"}}
BARS = {  # upper end of the interval
    ("resnet20", "bw"): 1.10,
    ("deit-tiny", "bw"): 1.05,
    ("resnet20", "bwa"): 1.25,
    ("deit-tiny", "bwa"): 1.15,
}
EXTRA_MEMORY = 1.0
CONTROL = "fp again"
WARM_UP = 6  # rounds; until then memory is still asked of the system

PROTOCOL = """\
A step is forward, backward, Adam and the schedule of mu, in float32. ResNet-20 takes 128 images of 32x32,
and DeiT-Tiny takes 16 of 224x224.

- Adam is `torch.optim.Adam(fused=True)` for all. A backward quantizer that is 0 makes Adam's state exactly
  0, and the unfused form takes square roots of such numbers, which is slow on a CPU.
- All networks of a table run in one process, one step each per round, in random order. *Over full
  precision* is a step's time divided by that of `fp` in the same round: the median over the rounds, with
  its bootstrap interval.
- `fp again` is a second network like `fp`. The time of full precision is then the mean of the two. The
  distance of both from 1 shows how well networks can be compared at all.
- *Extra memory* is what autograd keeps for the backward pass beyond `fp`, without compilation. The second
  number is in units of the tensors that are binarized: weights and, in setting `bwa`, the inputs of their
  layers.
- In `bwa`, `bnn` binarizes the inputs. ResNet-20 then has Bi-Real blocks and RPReLU, in `fp` too.
- An interval is that of one process. The place of tensors in memory moves all ratios of a table by up to a
  hundredth from one run of the script to the next.
"""


class Step:
    """One training step of one network, ready to be repeated."""

    def __init__(
        self, model: str, setting: str, method: str | None, compiled: bool, peer: Peer | None = None
    ) -> None:
        batch, size, classes = MODELS[model]
        torch.manual_seed(0)
        self.images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(classes, (batch,))
        options = OPTIONS.get((model, setting), {})
        self.network = create_model(model, classes=classes, image_size=size, **options)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.schedule = None
        if method is not None:
            pc.binarize_(self.network, pc.BinarizeConfig.from_setting(setting, method=method))
            self.schedule = pc.MuSchedule(self.network, start=1, end=300, steps=10_000)
        parameters = pc.param_groups(self.network, lr=1e-3)
        self.optimizer = peer(self.network) if peer else torch.optim.Adam(parameters, fused=True)
        self.forward = torch.compile(self.network) if compiled else self.network

    def __call__(self) -> float:
        """Measure the seconds of one step."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        functional.cross_entropy(self.forward(self.images), self.labels).backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return time.perf_counter() - start

    def saved_bytes(self) -> int:
        """Count the bytes that autograd keeps from forward to backward, without the network's own tensors."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = functional.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        return sum(kept.values())

    def binarized_bytes(self) -> int:
        """Count the bytes of the binarized weights with their scales, and of the binarized inputs."""
        total = 0
        for weight in binarized_weights(self.network):
            total += weight.latent.nbytes + weight.quantizer.exact_scale(weight.latent).nbytes

        def add(quantizer: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            nonlocal total
            total += output.nbytes

        quantizers = [quantizer for _, _, quantizer in activation_quantizers(self.network)]
        hooks = [quantizer.register_forward_hook(add) for quantizer in quantizers]
        self.network(self.images)
        for hook in hooks:
            hook.remove()
        return total


def networks(model: str, setting: str, names: list[str], compiled: bool, peer: str | None) -> dict[str, Step]:
    """Make the steps of full precision, of the methods, and of the peer's counterparts."""
    steps = {name: Step(model, setting, None, compiled) for name in ("fp", CONTROL)}
    steps |= {name: Step(model, setting, name, compiled) for name in names}
    for name, make in (PEERS[peer] if peer else {}).items():
        steps[name] = Step(model, setting, None, compiled, make)
    return steps


def measure(steps: dict[str, Step], rounds: int) -> dict[str, dict[str, Any]]:
    """Time every step once per round, in an order that changes, and compare within rounds."""
    full = steps["fp"].saved_bytes()
    extra = {name: step.saved_bytes() - full for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    shuffle = random.Random(0).shuffle
    for _ in range(WARM_UP + rounds):
        shuffle(order)
        for name in order:
            times[name].append(steps[name]())
    seconds = {name: measured[WARM_UP:] for name, measured in times.items()}
    references = [(a + b) / 2 for a, b in zip(seconds["fp"], seconds[CONTROL], strict=True)]
    report = {}
    for name, step in steps.items():
        ratios = [t / reference for t, reference in zip(seconds[name], references, strict=True)]
        binarized = step.binarized_bytes()
        report[name] = {
            "seconds": float(np.median(seconds[name])),
            "ratio": float(np.median(ratios)),
            "interval": interval_of_median(ratios),
            "extra_bytes": extra[name],
            "extra_tensors": extra[name] / binarized if binarized else None,
        }
    return report


def interval_of_median(ratios: list[float]) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the median."""
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)


def title(part: dict[str, Any]) -> str:
    """Name the comparison of a part."""
    words = [f"{part['model']}, {part['setting']}"]
    words += ["compiled"] * part["compiled"] + [f"beside {part['peer']}"] * bool(part["peer"])
    return ", ".join(words)


def table(part: dict[str, Any]) -> str:
    """Write one part in Markdown, with a row for each network."""
    rows = []
    for name, row in part["networks"].items():
        low, high = row["interval"]
        extra = f"{row['extra_bytes'] / 1e6:.1f} MB"
        if row["extra_tensors"] is not None:
            extra += f", {row['extra_tensors']:.2f} x"
        times = f"{1e3 * row['seconds']:.0f}", f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}"
        rows.append([f"`{name}`", *times, extra])
    columns = ("network", "step, ms", "over full precision", "95 % interval", "extra memory")
    return Table(columns, rows).markdown()


def verdicts(part: dict[str, Any]) -> list[str]:
    """Write, in sentences, the bars that a part meets."""
    bar = BARS[part["model"], part["setting"]]
    ours = {name: row for name, row in part["networks"].items() if row["extra_tensors"] is not None}
    slow = [name for name, row in ours.items() if row["interval"][1] > bar]
    large = [name for name, row in ours.items() if round(row["extra_tensors"], 2) > EXTRA_MEMORY]
    sentences = [
        f"Upper end of the interval at most {bar:.2f}: {_met(slow, ours)}.",
        f"Extra memory at most one tensor for each that is binarized: {_met(large, ours)}.",
    ]
    for peer in [name for name in part["networks"] if name not in (*ours, "fp", CONTROL)]:
        low, high = part["networks"][peer]["interval"]
        faster = [name for name, row in ours.items() if row["interval"][1] < low]
        slower = [name for name, row in ours.items() if row["interval"][0] > high]
        overlap = [name for name in ours if name not in (*faster, *slower)]
        for words, names in (("faster", faster), ("slower", slower), ("intervals overlap", overlap)):
            if names:
                sentences.append(f"Beside {peer}, {words}: {_quoted(names)}.")
    return sentences


def _met(failing: list[str], names: dict[str, Any]) -> str:
    if not failing:
        return f"met by all {len(names)}" if len(names) > 1 else "met"
    return f"not met by {_quoted(failing)}" + (f" of {len(names)}" if len(names) > 1 else "")


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(report: dict[str, Any]) -> str:
    """Write the page of the results."""
    found = next(iter(report["parts"].values()))["machine"]
    text = [
        "# What binarization adds to a training step",
        "",
        PROTOCOL,
        "{processor}, {cores} cores, {threads} threads, PyTorch {torch}.".format(**found),
        "",
        "`python benchmarks/training_overhead.py` makes this page from `data/training_overhead.json`.",
    ]
    for part in report["parts"].values():
        text += ["", f"## {title(part)}", "", f"{part['rounds']} rounds.", "", table(part), ""]
        text += [f"- {sentence}" for sentence in verdicts(part)]
    return "\n".join(text) + "\n"


def main() -> None:
    """Measure the missing parts, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [name for name in pc.methods() if name != "fp"]
    parser.add_argument("--model", choices=list(MODELS), action="append", help="default: both")
    parser.add_argument("--setting", choices=["bw", "bwa"], action="append", help="default: both")
    parser.add_argument("--method", choices=every, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=30, help="steps of each network that are timed")
    parser.add_argument("--compile", action="store_true", help="under torch.compile")
    parser.add_argument(
        "--peer", choices=list(PEERS), help="another library's counterparts in the same rounds"
    )
    parser.add_argument("--again", action="store_true", help="measure again the parts that are there already")
    arguments = parser.parse_args()
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    for model in arguments.model or list(MODELS):
        for setting in arguments.setting or ["bw", "bwa"]:
            key = " ".join(filter(None, (model, setting, "compiled" * arguments.compile, arguments.peer)))
            if key in report["parts"] and not arguments.again:
                continue
            steps = networks(model, setting, arguments.method or every, arguments.compile, arguments.peer)
            report["parts"][key] = {
                "model": model,
                "setting": setting,
                "compiled": arguments.compile,
                "peer": arguments.peer,
                "rounds": arguments.rounds,
                "machine": origin(),
                "networks": measure(steps, arguments.rounds),
            }
            for path, text in ((RESULTS, json.dumps(report, indent=2) + "\n"), (PAGE, page(report))):
                with written_whole(path) as file:
                    file.write_text(text)
            print(
                f"{key}\n{table(report['parts'][key])}", *verdicts(report["parts"][key]), sep="\n", flush=True
            )


if __name__ == "__main__":
    main()
