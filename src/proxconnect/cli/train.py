"""``proxconnect train``: one run, which makes a checkpoint and a packed file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import proxconnect
from proxconnect.base.files import written_whole
from proxconnect.base.metrics import packed_lines
from proxconnect.cli._console import plain_console
from proxconnect.cli._sensitivity import report_sensitivity
from proxconnect.cli._train_options import with_config_options
from proxconnect.cli.pack import write_packed
from proxconnect.data import Batches
from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, evaluate, is_main_process, origin, read_checkpoint, read_recipe
from proxconnect.trainer import resume as resume_run
from proxconnect.trainer import train as train_run
from proxconnect.trainer.folder import MODEL_FILE, RESULT_FILE
from proxconnect.trainer.interruption import interrupted, resume_command
from proxconnect.trainer.resuming import finished_result
from proxconnect.trainer.start import inherit, read_start

# The model and the data of a run that names none.
_STARTER = {"model": "resnet20", "data": "digits"}


@with_config_options
def train(
    *,
    given: dict[str, Any],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoint, logs and packed model; default: "
            "runs/<model>-<setting>-<method>-s<seed>.",
            rich_help_panel="Essentials",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Continue the run in this folder with its own options; with more --epochs, extend it.",
            rich_help_panel="Essentials",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="TOML file of options, named as here with _ in place of -, or 'best', the recipe of the "
            "package; options of the command line win over it.",
            rich_help_panel="Essentials",
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Train nothing; print the accuracy that each layer of --init costs if binarized alone, and "
            "which layers to keep in full precision.",
            rich_help_panel="Sensitivity",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the table to this file.", rich_help_panel="Sensitivity")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run that --out holds.", rich_help_panel="Output"),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Print the result alone, no progress.", rich_help_panel="Output"),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the result as JSON, and nothing else.", rich_help_panel="Output"),
    ] = False,
) -> None:
    """Train an image classifier, harden it and pack it.

    Without options it trains a ResNet-20 with 1-bit weights on the handwritten digits of the package.

    The folder --out gets: config.json, after every epoch checkpoint, metrics.csv, layers.csv and
    tensorboard/, and at the end curves.png, model.safetensors (hardened, packed) and result.json. Only
    'proxconnect eval' reads the test split.
    """
    if recipe is not None:
        options = read_recipe(recipe)
        if options.get("pair") not in (None, given.get("pair")):
            raise TrainingError(
                f"recipe {recipe} names the pair {options['pair']}, which is imported only where you name "
                f"it: add --pair {options['pair']}"
            )
        given = {**options, **given}
    if sensitivity:
        if out or resume:
            raise TrainingError("--sensitivity trains nothing; leave out --out and --resume")
        report_sensitivity(given, plot=plot, as_json=as_json)
        return
    if plot:
        raise TrainingError("--plot goes with --sensitivity")
    if out is not None and resume is not None:
        raise TrainingError("give either --out FOLDER (a new run) or --resume FOLDER (an old one)")
    console = plain_console(stderr=as_json)
    progress = plain_console(stderr=as_json, quiet=quiet)
    if resume is None:
        given = _with_defaults(given, progress.print)
        config = TrainConfig(**given)
        folder = out or _default_folder(config, progress.print)
    else:
        folder = resume
        if overwrite:
            raise TrainingError("--overwrite is for a new run; leave it out with --resume")
        if (result := finished_result(resume, given)) is not None:
            if is_main_process():
                _say_finished(resume, result, progress)
                _report(result, console, as_json=as_json)
            return
    try:
        if resume is not None:
            run = resume_run(resume, given, show=progress.print)
        else:
            run = train_run(config, folder, overwrite=overwrite, show=progress.print)
        if not is_main_process():
            return
        result = _finish(run, folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(interrupted(folder, given.get("pair"))) from None
    _report(result, console, as_json=as_json)


def _with_defaults(given: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
    """Fill in model and data of a run that starts from no other."""
    missing = {} if "init" in given else {k: v for k, v in _STARTER.items() if k not in given}
    if missing and is_main_process():
        show(f"not given, so taken: {', '.join(f'--{name} {value}' for name, value in missing.items())}")
    return {**missing, **given}


def _default_folder(config: TrainConfig, show: Callable[[str], None]) -> Path:
    """Name the folder of a run by what it trains: each process of a run finds the name by itself."""
    run = inherit(config, read_start(config)).resolved()
    method = "" if run.setting == "fp" else f"-{run.method}"
    model = str(run.model).replace(":", "-")  # as in timm:NAME
    folder = Path("runs") / f"{model}-{run.setting}{method}-s{run.seed}"
    if is_main_process():
        show(f"the run goes to {folder}")
    return folder


def _say_finished(folder: Path, result: dict[str, Any], console: Console) -> None:
    epochs, pair = (result["config"].get(name) for name in ("epochs", "pair"))
    more = (
        f"; to train it further: {resume_command(folder, pair, '--epochs', str(2 * epochs))}"
        if epochs
        else ""
    )
    console.print(f"the run in {folder} is finished: {epochs} of {epochs} epochs are done{more}")


def _report(result: dict[str, Any], console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    console.print(packed_lines(result["trained"]["accuracy"], result["packed"]["accuracy"]))
    console.print(
        f"{result['file']}: {result['bytes']:,} bytes, {result['ratio']:.1f} times smaller than float32"
    )


def _finish(run: Any, folder: Path) -> dict[str, Any]:
    """Pack the trained model, compare both on validation images, and write the result."""
    checkpoint = read_checkpoint(run.checkpoint)
    path = folder / MODEL_FILE
    write_packed(checkpoint, path)
    batches = Batches(run.data.val, 256, mean=run.data.mean, std=run.data.std)
    summary = proxconnect.summary(path)
    result = {
        "trained": _as_trained(run, batches),
        "packed": evaluate(proxconnect.load(path), batches).to_dict(),
        "metrics": run.metrics,
        "file": str(path),
        "bytes": path.stat().st_size,
        "ratio": summary.file_ratio,
        "data_fingerprint": run.data.fingerprint,
        "origin": origin(),
        "config": run.config.to_dict(),
    }
    with written_whole(folder / RESULT_FILE) as file:
        file.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _as_trained(run: Any, batches: Any) -> dict[str, Any]:
    """Return the evaluation before recalibration replaced the statistics of training."""
    found: dict[str, Any] = evaluate(run.model, batches).to_dict()
    if not (run.config.recalibrate and run.config.epochs):
        return found
    limit = run.config.limit_val_batches
    images = min(found["images"], limit * run.config.images_per_step) if limit else found["images"]
    # The metric is a float32; as a share of images it is exact.
    share = round(run.metrics["val_accuracy"] * images) / images
    return {"accuracy": share, "loss": run.metrics["val_loss"], "images": images}
