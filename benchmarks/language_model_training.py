"""Train small language models in full precision and with few levels, from scratch and fine-tuned.

    python benchmarks/language_model_training.py --work FOLDER [--steps 300] [--seeds 3]

The model, its text and its training are those of ``examples/language_model.py``: a Llama of bytes learns the
sources of Python's standard library, with few levels in all matrices, the embedding and the head included.
Each seed trains it in full precision and with each method from scratch, then again from the full-precision
model for as many steps more. Full precision gets these steps too, so that both columns compare equal work.

Each finished training is added to ``docs/results/data/language_model_training.json``, and
``docs/results/language_model_training.md`` is made from it. A script that was stopped goes on where it was:
``--work`` keeps the models in full precision, from which others start.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _results import RESULTS, write_results
from transformers import AutoModelForCausalLM

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.trainer import origin

NAME = "language_model_training"
EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "language_model.py"))
FLOAT = "full precision"
WEIGHTS = {
    FLOAT: ("fp", False),
    "`bc`": ("bc", False),
    "`bnn+`": ("bnn+", False),
    "`bnn++`": ("bnn++", False),
    "`pc`, ternary": ("pc", True),
}
SCRATCH, TUNED = STARTS = ("from scratch", "fine-tuned")
WINDOWS = 256  # of held-out text
KEYS = ("weights", "start", "seed")
MORE = 1000  # added to the seed of the windows that a second training draws

Cell = dict[str, Any]


def train_cell(weights: str, start: str, seed: int, settings: Cell, work: Path) -> Cell:
    """Train and evaluate one model."""
    method, ternary = WEIGHTS[weights]
    torch.manual_seed(seed)
    tokenizer = EXAMPLE["byte_tokenizer"]()
    text, held_out = (EXAMPLE["tokens_of"](tokenizer, part) for part in EXAMPLE["texts"]())
    if start == TUNED:
        model = AutoModelForCausalLM.from_pretrained(work / f"fp-{seed}")
    else:
        model = EXAMPLE["llama"](settings["layers"], settings["width"])
    if weights != FLOAT:
        EXAMPLE["binarize"](model, method, ternary)
    steps, batch, length = (settings[name] for name in ("steps", "batch", "length"))
    before = time.process_time()
    EXAMPLE["train"](model, text, steps, batch, length, seed + MORE * (start == TUNED), method)
    seconds = time.process_time() - before  # a stopped process takes none

    def loss() -> float:
        return float(EXAMPLE["bits_per_byte"](model, held_out, length, WINDOWS))

    found: Cell = {"weights": weights, "start": start, "seed": seed, "seconds": seconds}
    if weights != FLOAT:
        pc.harden_(model)
    found["loss"] = loss()
    if weights != FLOAT:
        model = pc.pack_(model, activations="int8")
        found["packed_loss"] = loss()
    found["file"] = file_size(model)
    if (weights, start) == (FLOAT, SCRATCH):
        model.save_pretrained(work / f"fp-{seed}")
    return found


def file_size(model: Any) -> int:
    """Count the bytes of the weights' file that the model saves."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return (Path(folder) / "model.safetensors").stat().st_size


def settings_of(options: argparse.Namespace) -> Cell:
    """Return what all trainings of a table have in common."""
    train, held_out = map(len, EXAMPLE["texts"]())
    sizes = {name: getattr(options, name) for name in ("layers", "width", "steps", "batch", "length")}
    return sizes | {
        "parameters": EXAMPLE["llama"](options.layers, options.width).num_parameters(),
        "text": train,
        "held_out": held_out,
    }


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    settings, machine, cells = result["settings"], result["origin"], result["cells"]
    minutes = statistics.median(cell["seconds"] for cell in cells) / 60
    seen = settings["steps"] * settings["batch"] * settings["length"]
    facts = {
        **settings,
        **machine,
        "minutes": f"{minutes:.1f}",
        "seen": f"{seen / 1e6:.1f}",
        "million": f"{settings['parameters'] / 1e6:.1f}",
        "train_mb": f"{settings['text'] / 1e6:.1f}",
        "held_mb": f"{settings['held_out'] / 1e6:.2f}",
        "windows": WINDOWS,
        "seeds": len({cell["seed"] for cell in cells}),
    }
    return _PAGE.format(**facts, table=table(cells))


_PAGE = """\
# Training language models with 1-bit weights

A Llama of {layers} layers, {width} wide, reads bytes. It has {million} million weights, and all but those of
its norms have few levels: 1-bit weights share a scale among 128 inputs, ternary ones among 256. It learns
the sources of Python {python}'s standard library, {train_mb} MB, and is evaluated on {windows} windows of
{held_mb} MB that are held out. The table has the loss of the hardened model in bits per byte, lower is
better: the mean of the seeds, the smallest and the largest, and how far the mean is above that of full
precision in the same column.

{table}

- *From scratch* is {steps} steps of {batch} windows of {length} bytes, {seen} million bytes in all.
  *Fine-tuned* starts from the model that full precision found in that time, and takes as many steps with
  other windows. Full precision takes them too, so the columns compare equal work.
- *Packed* is the fine-tuned model in its packed form, which rounds the inputs of its layers to 8 bits. *File*
  is the size of its weights' file.
- Rates are 2e-3, and 3e-3 of their scale for latent weights, chosen in a short trial of `bc` with one seed.
  The sharpness of `bnn+` and `bnn++` ends at 10, that of `pc` at 300. No method was searched for by itself.
  A training takes {minutes} minutes of one core. So the losses compare the methods under one recipe, and do
  not say how good such a model can get.

Seeds: {seeds}. {processor}, {threads} thread, torch {torch}, commit `{commit}`.
`python benchmarks/language_model_training.py` makes this page.
"""


def table(cells: list[Cell]) -> str:
    """Write the losses of all methods."""
    columns = ("weights", SCRATCH, "above", TUNED, "above", "packed", "file, MB")
    rows = []
    for weights in WEIGHTS:
        row = [weights]
        for start in STARTS:
            found, best = _losses(cells, weights, start), _losses(cells, FLOAT, start)
            both = found.keys() & best.keys()
            above = f"{_mean({n: found[n] - best[n] for n in both}):+.3f}" if both else ""
            row += [_spread(found), "" if weights == FLOAT else above]
        packed = _losses(cells, weights, TUNED, "packed_loss")
        sizes = {cell["file"] for cell in cells if cell["weights"] == weights}
        row += [_spread(packed), f"{max(sizes) / 1e6:.2f}" if sizes else ""]
        rows.append(row)
    return Table(columns, rows, numbers=columns[1:]).markdown()


def _losses(cells: list[Cell], weights: str, start: str, name: str = "loss") -> dict[int, float]:
    return {
        cell["seed"]: cell[name]
        for cell in cells
        if (cell["weights"], cell["start"]) == (weights, start) and name in cell
    }


def _mean(values: dict[int, float]) -> float:
    return statistics.mean(values.values())


def _spread(values: dict[int, float]) -> str:
    if not values:
        return ""
    return f"{_mean(values):.3f} ({min(values.values()):.3f} to {max(values.values()):.3f})"


def main() -> None:
    """Train what is missing, and write each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the models in full precision")
    for name, default in {"layers": 2, "width": 256, "steps": 300, "batch": 8, "length": 128}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings, file = settings_of(options), RESULTS / "data" / f"{NAME}.json"
    result = json.loads(file.read_text()) if file.is_file() else {"settings": settings, "cells": []}
    if result["settings"] != settings:
        parser.error(f"{file} has other settings, {result['settings']}: move it away, or use these")
    for seed in range(options.seeds):
        for start, weights in missing(result["cells"], seed, options.work):
            print(f"{weights}, {start}, seed {seed}", flush=True)
            cell = train_cell(weights, start, seed, settings, options.work)
            print(cell, flush=True)
            others = [old for old in result["cells"] if any(old[key] != cell[key] for key in KEYS)]
            result |= {"origin": origin(), "cells": [*others, cell]}
            write_results(NAME, result, page)
    write_results(NAME, result, page)


def missing(cells: list[Cell], seed: int, work: Path) -> list[tuple[str, str]]:
    """List what has no result with a seed, and before it the model that others start from, if it is lost."""
    first = (SCRATCH, FLOAT)
    left = [
        (start, weights)
        for start in STARTS
        for weights in WEIGHTS
        if seed not in _losses(cells, weights, start)
    ]
    lost = any(start == TUNED for start, _ in left) and not (work / f"fp-{seed}").is_dir()
    return [first, *left] if lost and first not in left else left


if __name__ == "__main__":
    main()
