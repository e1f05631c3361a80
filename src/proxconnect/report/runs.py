"""The runs of a report, read from their folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxconnect.base.files import content_of
from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig
from proxconnect.trainer.epoch_table import read_epochs, read_layers
from proxconnect.trainer.folder import (
    CONFIG_FILE,
    LAYERS_FILE,
    METRICS_FILE,
    MODEL_FILE,
    RESULT_FILE,
    read_config,
)


@dataclass(frozen=True)
class Run:
    """One run, as its folder has it.

    Args:
        name: the path of the folder within the folders of the report.
        folder: the folder.
        config: its configuration.
        epochs: the rows of ``metrics.csv``.
        layers: the rows of ``layers.csv`` by the name of the weight.
        result: ``result.json`` of a finished run; None for others.
    """

    name: str
    folder: Path
    config: TrainConfig
    epochs: list[dict[str, float]]
    layers: dict[str, list[dict[str, float]]]
    result: dict[str, Any] | None

    @property
    def label(self) -> str:
        """The training in words: model, setting and method, or the step rule where it is not ``pc``."""
        config = self.config
        rule = [] if config.rule in (None, "pc", "fp") else [str(config.rule)]
        method = [] if config.setting == "fp" else [str(config.method)]
        return " ".join([str(config.model), config.setting, *method, *rule])

    @property
    def packed_file(self) -> Path | None:
        """The packed file; None where there is none yet."""
        file = self.folder / MODEL_FILE
        return file if file.is_file() else None


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Read the runs in ``paths``: each is the folder of a run, or has such folders in it, at any depth.

    Raises:
        TrainingError: a path has no run, or a file of a run is damaged.
    """
    runs: dict[Path, Run] = {}
    for path in paths:
        found = list(_folders(path))
        if not found:
            raise TrainingError(
                f"there is no run in {path} (no {CONFIG_FILE}); expected a folder that 'proxconnect train "
                "--out' or 'proxconnect grid' wrote, or a folder of such folders"
            )
        for folder in found:
            name = path.name if folder == path else str(folder.relative_to(path))
            runs.setdefault(folder.resolve(), _read(name or folder.resolve().name, folder))
    return list(runs.values())


def _folders(path: Path) -> Iterator[Path]:
    if (path / CONFIG_FILE).is_file():
        yield path
        return
    for config in sorted(path.rglob(CONFIG_FILE)):
        yield config.parent


def _read(name: str, folder: Path) -> Run:
    config = read_config(folder)
    assert config is not None, "a run is found by its configuration"
    return Run(
        name,
        folder,
        config,
        read_epochs(folder / METRICS_FILE),
        read_layers(folder / LAYERS_FILE),
        _result(folder / RESULT_FILE),
    )


def _result(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(content_of(path))
        _ = values["trained"]["accuracy"], values["packed"]["accuracy"], values["ratio"], values["bytes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not a result of 'proxconnect train': {error!r}") from error
    return dict(values)
