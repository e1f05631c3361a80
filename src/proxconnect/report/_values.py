"""The values that the template of a report shows: texts and numbers, without any choice left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from proxconnect.base.metrics import METRICS, find_alarms
from proxconnect.base.version import __version__
from proxconnect.report._pictures import comparison, curves, image
from proxconnect.report.packed import Answers, Examined
from proxconnect.report.runs import Run
from proxconnect.summaries import Summary
from proxconnect.timing import Bench
from proxconnect.trainer import origin
from proxconnect.trainer.epoch_table import HISTOGRAM_COLUMNS

# A matrix of more classes is not readable; its largest confusions are listed in place of it.
_LARGEST_MATRIX = 20
_MOST_CONFUSIONS = 20
_OPERATORS = 8
_OF_LAYERS = ("flip_rate", "level_distance", "gradient_killed", "overflow_rate")


def page_values(runs: Sequence[Run], examined: Sequence[Examined]) -> dict[str, Any]:
    """Make the values of the whole page."""
    return {
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": origin(),
        "rows": [
            _row(place, run, found) for place, (run, found) in enumerate(zip(runs, examined, strict=True))
        ],
        "comparison": comparison(runs) if len(runs) > 1 else [],
        "runs": [
            _run(place, run, found) for place, (run, found) in enumerate(zip(runs, examined, strict=True))
        ],
    }


def _row(place: int, run: Run, found: Examined) -> dict[str, Any]:
    """Make the row of a run in the table of all runs."""
    result = run.result
    cells = {
        "model": str(run.config.model),
        "setting": run.config.setting,
        "method": str(run.config.method),
        "seed": str(run.config.seed),
        "epochs": f"{len(run.epochs)} of {run.config.epochs}",
        "trained": _percent(result["trained"]["accuracy"] if result else None),
        "packed": _percent(result["packed"]["accuracy"] if result else None),
        "bytes": f"{result['bytes']:,}" if result else "",
        "smaller": f"{result['ratio']:.1f}x" if result else "",
        "latency": f"{1e3 * found.speed.contenders[0].seconds[0]:.2f} ms" if found.speed else "",
    }
    return {"anchor": f"run-{place}", "name": run.name, "cells": cells}


def _run(place: int, run: Run, found: Examined) -> dict[str, Any]:
    last = run.epochs[-1] if run.epochs else {}
    done = len(run.epochs) / run.config.epochs if run.config.epochs else 1.0
    return {
        "anchor": f"run-{place}",
        "name": run.name,
        "label": run.label,
        "notes": found.notes,
        "alarms": list(find_alarms(last, done).values()),
        "facts": _facts(run),
        "last": [
            (metric.title, metric.write(last[metric.column])) for metric in METRICS if metric.column in last
        ],
        "curves": curves(run),
        "layers": _layers(run),
        "answers": None if found.answers is None else _answers(found.answers),
        "sizes": None if found.layers is None else _sizes(found.layers),
        "speed": None if found.speed is None else _speed(found.speed),
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    """List the options that differ from the defaults of the command line, and where the run was made."""
    default = type(run.config)().to_dict()
    given = {key: value for key, value in run.config.to_dict().items() if value not in (default[key], None)}
    facts = [(key.replace("_", " "), _plain(value)) for key, value in given.items()]
    source = (run.result or {}).get("origin") or {}
    machine = source.get("accelerator") or source.get("processor")
    versions = [f"{name} {source[name]}" for name in ("proxconnect", "torch", "python") if source.get(name)]
    commit = str(source.get("commit") or "")
    made = {"commit": commit[:12] + commit[40:], "machine": machine, "versions": ", ".join(versions)}
    return facts + [(key, str(value)) for key, value in made.items() if value]


def _plain(value: Any) -> str:
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _layers(run: Run) -> dict[str, Any] | None:
    """Make the table of the binarized weights in the last epoch, each with the histogram of its latents."""
    last = {name: rows[-1] for name, rows in run.layers.items()}
    if not last:
        return None
    titles = {metric.column: metric for metric in METRICS}
    columns = [titles[key] for key in _OF_LAYERS if any(key in row for row in last.values())]
    return {
        "epoch": int(max(row["epoch"] for row in last.values())),
        "columns": [metric.title for metric in columns],
        "rows": [
            {
                "name": name,
                "elements": f"{int(row['elements']):,}",
                "cells": [
                    metric.write(row[metric.column]) if metric.column in row else "" for metric in columns
                ],
                "histogram": _bars([row.get(column, 0.0) for column in HISTOGRAM_COLUMNS]),
            }
            for name, row in last.items()
        ],
    }


def _bars(shares: Sequence[float]) -> str:
    """Write a histogram as the path of an SVG that is as wide as it has bins, and 10 high."""
    highest = max(shares) or 1.0
    steps = " ".join(f"V{10 - 10 * share / highest:.2f} H{place}" for place, share in enumerate(shares, 1))
    return f"M0 10 {steps} V10 Z"


def _answers(found: Answers) -> dict[str, Any]:
    evaluation = found.evaluation
    return {
        "data": found.data,
        "split": found.split,
        "images": f"{evaluation.images:,}",
        "accuracy": _percent(evaluation.accuracy),
        "loss": f"{evaluation.loss:.4f}",
        "classes": found.classes,
        "matrix": _matrix(found) if len(found.classes) <= _LARGEST_MATRIX else None,
        "confusions": _confusions(found) if len(found.classes) > _LARGEST_MATRIX else [],
        "samples": [
            {
                "image": image(sample.image),
                "true": sample.true,
                "answer": sample.answer,
                "probability": f"{sample.probability:.0%}",
                "right": sample.right,
            }
            for sample in found.samples
        ],
    }


def _matrix(found: Answers) -> list[dict[str, Any]]:
    rows = []
    for name, counts, share in zip(
        found.classes, found.evaluation.confusion, found.evaluation.class_accuracies, strict=True
    ):
        total = max(1, sum(counts))
        # White numbers stand on dark cells: the fill of a cell is the share of its row.
        cells = [
            {"count": count, "share": f"{count / total:.3f}", "dark": count > total / 2} for count in counts
        ]
        rows.append({"name": name, "cells": cells, "right": "" if share is None else f"{100 * share:.1f}"})
    return rows


def _confusions(found: Answers) -> list[tuple[str, str, str]]:
    """List the largest confusions of two classes: true class, answer, images."""
    counts = [
        (count, found.classes[true], found.classes[answer])
        for true, row in enumerate(found.evaluation.confusion)
        for answer, count in enumerate(row)
        if true != answer and count
    ]
    largest = sorted(counts, key=lambda entry: -entry[0])[:_MOST_CONFUSIONS]
    return [(true, answer, str(count)) for count, true, answer in largest]


def _sizes(found: Summary) -> dict[str, Any]:
    parameters = found.binary_parameters + found.float_parameters
    file_bytes = found.file_bytes or found.bytes
    totals: Mapping[str, str] = {
        "packed file": f"{file_bytes:,} bytes",
        "in float32": f"{found.float32_bytes:,} bytes",
        "smaller": f"{found.float32_bytes / max(1, file_bytes):.1f} times",
        "1-bit parameters": f"{found.binary_parameters:,} of {parameters:,}",
    }
    return {
        "totals": list(totals.items()),
        "share": f"{100 * file_bytes / max(1, found.float32_bytes):.2f}",
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": "x".join(map(str, layer.shape)),
                "precision": layer.precision,
                "bytes": f"{layer.bytes:,}",
                "share": f"{100 * layer.bytes / max(1, found.bytes):.1f}",
                "kernel": layer.kernel,
            }
            for layer in found.layers
        ],
    }


def _speed(found: Bench) -> dict[str, Any]:
    engines = []
    for row in found.contenders:
        middle, low, high = (f"{1e3 * value:.2f}" for value in row.seconds)
        engines.append((row.name, middle, f"{low} to {high}", f"{row.times_packed[0]:.2f}"))
    return {
        "batch": found.batch,
        "threads": found.threads,
        "rounds": found.rounds,
        "kernels": found.kernels,
        "engines": engines,
        "one_bit": f"{found.one_bit_share:.0%}",
        "operators": [
            (row.operator, str(row.calls), f"{1e3 * row.seconds:.3f}", f"{row.share:.1%}")
            for row in found.operators[:_OPERATORS]
        ],
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
