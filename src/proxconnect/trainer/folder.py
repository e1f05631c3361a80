"""The folder of a run: its files, and the unfinished files of a run that was killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from proxconnect.base.files import cannot_write, content_of, make_folder, remove_leftovers, written_whole
from proxconnect.errors import TrainingError, WriteError
from proxconnect.trainer._process import is_restarted, launch_name
from proxconnect.trainer.config import TrainConfig

CHECKPOINT_FILE = "checkpoint"
CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
MODEL_FILE = "model.safetensors"
METRICS_FILE = "metrics.csv"
LAYERS_FILE = "layers.csv"
CURVES_FILE = "curves.png"
LAUNCH_FILE = "torchrun_id"
TENSORBOARD_FOLDER = "tensorboard"
_REPORTS = (METRICS_FILE, LAYERS_FILE, CURVES_FILE)
_FILES = (*_REPORTS, CHECKPOINT_FILE, RESULT_FILE, MODEL_FILE, LAUNCH_FILE, CONFIG_FILE)
# The temporary files in which this project and safetensors write.
_UNFINISHED = (*(f".{name}.*" for name in _FILES), ".tmp*")


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Make ``out`` an empty folder for a run; files that do not belong to a run stay.

    A run may have been killed at any moment, so its folder may hold any part of its files.

    Raises:
        TrainingError: ``out`` is a file, it holds a run without ``overwrite``, or it holds something else.
        WriteError: the system refuses to write.
    """
    if out.exists() and not out.is_dir():
        raise TrainingError(f"--out {out} is a file; give a folder")
    if out.is_dir():
        clean_folder(out)
        _empty(out, overwrite)
    make_folder(out)


def clean_folder(out: Path) -> None:
    """Remove the files that a killed run left unfinished in its folder ``out``.

    Raises:
        WriteError: the system refuses to write.
    """
    try:
        remove_leftovers(out)
        for pattern in _UNFINISHED:
            for path in out.glob(pattern):
                if not path.is_dir():
                    path.unlink()
    except OSError as error:
        raise WriteError(cannot_write(out, error)) from error


def write_config(config: TrainConfig, out: Path) -> None:
    """Write the configuration of the run in the folder ``out``.

    Raises:
        WriteError: the system refuses to write.
    """
    with written_whole(out / CONFIG_FILE) as file:
        file.write_text(json.dumps(config.to_dict(), indent=2) + "\n")


def write_launch(out: Path) -> None:
    """Write the name of torchrun's start into the folder ``out`` of the run that it began, if it has one.

    Raises:
        WriteError: the system refuses to write.
    """
    name = launch_name()
    if name is not None:
        with written_whole(out / LAUNCH_FILE) as file:
            file.write_text(f"{name}\n")


def is_continued(out: Path) -> bool:
    """Tell whether torchrun started this process in the place of an earlier one of the run in ``out``."""
    if is_restarted():
        return True
    try:
        return content_of(out / LAUNCH_FILE).decode(errors="replace").strip() == launch_name()
    except OSError:
        return False


def read_config(out: Path) -> TrainConfig | None:
    """Read the configuration of the run in the folder ``out``; None if the folder has none.

    Raises:
        TrainingError: the file is damaged.
    """
    path = out / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(content_of(path))
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{path} holds no JSON object")
    return TrainConfig.from_dict(values)


def _empty(out: Path, overwrite: bool) -> None:
    try:
        names = {path.name for path in out.iterdir()}
        if names and not overwrite:
            raise TrainingError(
                f"--out {out} is not empty; choose another folder, --resume it, or pass --overwrite"
            )
        others = sorted(names - {TENSORBOARD_FOLDER, *_FILES})
        if others and CONFIG_FILE not in names:
            raise TrainingError(
                f"--out {out} does not hold a run (no {CONFIG_FILE}, but {others[0]}), so --overwrite will "
                "not empty it"
            )
        # The configuration goes last: a folder with other files and without it does not count as a run's.
        for path in (out / name for name in (TENSORBOARD_FOLDER, *_FILES)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(cannot_write(out, error)) from error
