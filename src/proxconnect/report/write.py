"""Writing of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

from proxconnect.base.files import writable_target, written_whole
from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.report._values import page_values
from proxconnect.report.packed import examine
from proxconnect.report.runs import find_runs

_TEMPLATE = "page.html.jinja"


def write_report(
    paths: Iterable[Path],
    out: Path,
    *,
    data: str | None = None,
    split: str = "val",
    samples: int = 12,
    rounds: int = 25,
    show: Callable[[str], None] = print,
) -> Path:
    """Write a report of the runs in ``paths`` to ``out``: one HTML file without scripts that loads nothing.

    The report has the runs side by side, and of each run its curves, the statistics of its layers, its
    confusion matrix, sample predictions, sizes and latencies.

    Args:
        paths: folders of runs, or folders that have such folders in them.
        out: the file to write.
        data: the data set to evaluate the packed files on; None for that of each run.
        split: "val" or "test".
        samples: the largest number of sample predictions of a run.
        rounds: rounds in which a packed network and the same architecture in float32 are timed; 0 leaves
            latencies out.
        show: receives the lines to print.

    Raises:
        TrainingError: a path has no run, or a file of a run is damaged.
        MissingPackageError: jinja2, matplotlib or Pillow is not installed.
        ProxConnectError: another argument is wrong.
        WriteError: ``out`` cannot be written.
    """
    writable_target(out)  # refuses a wrong path before the work
    if split not in ("val", "test"):
        raise ProxConnectError(unknown_name("split", split, ("val", "test")))
    for name, value in (("samples", samples), ("rounds", rounds)):
        if value < 0:
            raise ProxConnectError(f"{name} must be at least 0, not {value}")
    runs = find_runs(paths)
    examined = []
    for run in runs:
        found = examine(run, data=data, split=split, samples=samples, rounds=rounds)
        examined.append(found)
        show(f"{run.name}: read")
        for note in found.notes:
            show(f"{run.name}: {note}")
    text = _render(page_values(runs, examined))
    with written_whole(out) as file:
        file.write_text(text, encoding="utf-8")
    return out


def _render(values: dict[str, object]) -> str:
    with needed_for("A report"):
        from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("proxconnect.report") / _TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(values)
