"""Recipes: training options in a TOML file, yours or one that ships."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from proxconnect.errors import TrainingError, unknown_name
from proxconnect.trainer.config import TrainConfig

_SHIPPED = Path(__file__).parent / "recipes"


def read_recipe(recipe: str | Path) -> dict[str, Any]:
    r"""The options in a TOML file; its keys are the fields of :class:`TrainConfig`.

    Args:
        recipe: the file, or ``"best"``, which ships: what reached most on validation images so far. A file of
            that name is ``"./best"``.

    Raises:
        TrainingError: the file cannot be read, is not TOML, or has an unknown key or a value of another type.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "recipe.toml"
    >>> _ = file.write_text('model = "resnet20"\nepochs = 3')
    >>> read_recipe(file)
    {'model': 'resnet20', 'epochs': 3}
    >>> read_recipe("best")["method"]
    'bnn++'
    """
    shipped = {file.stem: file for file in _SHIPPED.glob("*.toml")}
    named = shipped.get(recipe) if isinstance(recipe, str) else None
    path = named or Path(recipe)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(shipped))
        raise TrainingError(
            f"cannot read recipe {path}: {error.strerror}; expected a TOML file, or one that ships: {known}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"recipe {path} is not TOML: {error}") from error
    check_options(values, f"recipe {path}")
    return values


def check_options(values: Mapping[str, Any], where: str) -> None:
    """Refuse keys that are no fields of :class:`TrainConfig`, and values of another type.

    Args:
        values: options by name.
        where: what the error says they are from.

    Raises:
        TrainingError: the message names the key.
    """
    names = [each.name for each in fields(TrainConfig)]
    hints = get_type_hints(TrainConfig)
    for key, value in values.items():
        if key not in names:
            raise TrainingError(f"{where}: {unknown_name('key', key, names)}")
        kinds = set(get_args(hints[key]) or (hints[key],)) - {type(None)}
        # TOML writes a whole number of epochs and a whole learning rate alike.
        if float in kinds:
            kinds.add(int)
        if type(value) not in kinds:
            expected = " or ".join(sorted(kind.__name__ for kind in kinds))
            raise TrainingError(
                f"{where}: {key} is {value!r}, of type {type(value).__name__}; expected {expected}"
            )
