"""Train good and bad runs on scikit-learn's digits, and draw the numbers that tell them apart.

python tools/debug_pictures.py          # trains, writes docs/debug, prints the table of the page
python tools/debug_pictures.py --draw   # draws the runs of docs/debug/runs.json again
"""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import proxconnect as pc
from proxconnect.data import load_split
from proxconnect.layers import collect_accumulators
from proxconnect.optim import Schedule, weight_gradients

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "debug"
SEED = 0


class Run(NamedTuple):
    """A run: what is wrong with it, and the options that make it so."""

    title: str
    latent_lr: float = 5e-2
    schedule: Schedule | None = None
    bits: int = 32
    penalty: float = 0.0


RUNS = {
    "good": Run("the defaults"),
    "frozen": Run("latent steps 200 times as small", latent_lr=2.5e-4),
    "closed": Run("mu begins at 100", schedule=Schedule("constant", 100)),
    "open": Run("mu ends at 3", schedule=Schedule("exponential", 1, 3)),
    "wide": Run("1-bit inputs, sums of 8 bits", bits=8),
    "overflow": Run("1-bit inputs, sums of 6 bits", bits=6),
    "penalty": Run("the same with the penalty", bits=6, penalty=0.3),
}
PICTURES = {
    "flips": ("flip_rate", "signs that flipped, share", ("good", "frozen", "closed")),
    "settled": ("gradient_killed", "gradient that is stopped, share", ("good", "frozen", "closed")),
    "distance": ("level_distance", "distance from the levels", ("good", "open")),
    "overflow": ("overflow_rate", "sums that overflow, share", ("wide", "overflow", "penalty")),
}
"""Each picture: the number that it shows, what that means, and the runs in it."""


def network(run: Run) -> nn.Module:
    """Make the binarized network of a run: four binary layers of 32, or two of 128 with narrow sums."""
    width, depth, shape = (32, 4, nn.ReLU) if run.bits == 32 else (128, 2, nn.Identity)
    config = pc.BinarizeConfig("bnn++")
    if run.bits != 32:
        config = pc.BinarizeConfig.from_setting("bwaa", method="bnn++", accumulator_bits=run.bits)
    sizes = [64, *[width] * (depth + 1)]
    parts = [(nn.Linear(a, b), nn.BatchNorm1d(b), shape()) for a, b in pairwise(sizes)]
    layers = [layer for part in parts for layer in part]
    return pc.binarize_(nn.Sequential(*layers, nn.Linear(width, 10)), config)


def train(run: Run, steps: int = 300, every: int = 10) -> dict[str, Any]:
    """Train one run; return its numbers every few steps, and its accuracy as trained and hardened."""
    torch.manual_seed(SEED)
    data, test = load_split("digits", "train"), load_split("digits", "test")
    images, labels = data.images.flatten(1) / 255, data.labels
    model = network(run)
    optimizer = torch.optim.Adam(pc.param_groups(model, latent_lr=run.latent_lr, latent_lr_relative=True))
    rows: list[dict[str, float]] = []
    with (
        warnings.catch_warnings(),
        pc.training(model, optimizer, steps=steps, schedule=run.schedule) as training,
    ):
        warnings.simplefilter("ignore")  # the bad runs are warned of
        for step, batch in enumerate(torch.randint(len(labels), (steps, 64)), 1):
            optimizer.zero_grad()
            narrow = nullcontext() if run.bits == 32 else collect_accumulators(model)
            with narrow as sums, weight_gradients(model) as gradients:
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                if sums and run.penalty:
                    loss = loss + run.penalty * sums.penalty()
                loss.backward()
            if step % every == 0:
                killed = pc.optim.overall(
                    pc.optim.layer_statistics(model, gradients), {n: g.numel() for n, g in gradients.items()}
                )
                row = {**training.statistics(), "gradient_killed": killed["gradient_killed"], "step": step}
                if sums:
                    rates = sums.overflow_rates()
                    row["overflow_rate"] = sum(rates.values()) / len(rates)
                rows.append(row)
            optimizer.step()
        pc.recalibrate_(model, [images])
        result = {"trained": accuracy(model, test)}
        pc.harden_(model)
    return {"title": run.title, **result, "hardened": accuracy(model, test), "rows": rows}


@torch.no_grad()
def accuracy(model: nn.Module, test: Any) -> float:
    """Measure the accuracy on the test images in eval mode."""
    answers = model.eval()(test.images.flatten(1) / 255).argmax(1)
    model.train()
    return float((answers == test.labels).float().mean())


def table(runs: dict[str, Any]) -> str:
    """Return the table of the page."""
    lines = ["| run | accuracy as trained | hardened |", "| --- | --- | --- |"]
    lines += [f"| {r['title']} | {r['trained']:.1%} | {r['hardened']:.1%} |" for r in runs.values()]
    return "\n".join(lines)


def draw(runs: dict[str, Any]) -> None:
    """Draw every picture."""
    from matplotlib import pyplot

    for name, (number, meaning, shown) in PICTURES.items():
        figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
        for run, colour in zip(shown, ("#1f77b4", "#c8501a", "#7f7f7f"), strict=False):
            rows = [row for row in runs[run]["rows"] if number in row]
            axes.plot(
                [row["step"] for row in rows],
                [row[number] for row in rows],
                label=runs[run]["title"],
                color=colour,
                linewidth=2,
            )
        axes.set(xlabel="step", ylabel=meaning)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(FOLDER / f"{name}.png", dpi=130)
        pyplot.close(figure)


def main() -> None:
    """Write runs and pictures."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "runs.json"
    if "--draw" not in sys.argv:
        path.write_text(json.dumps({name: train(run) for name, run in RUNS.items()}, indent=1) + "\n")
    runs = json.loads(path.read_text())
    draw(runs)
    print(table(runs))


if __name__ == "__main__":
    main()
