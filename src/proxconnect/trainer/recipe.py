"""Recipes: training options in a TOML file of the user or of the package."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from proxconnect.base.files import content_of
from proxconnect.errors import TrainingError
from proxconnect.trainer.config import check_options

_SHIPPED = Path(__file__).parent / "recipes"


def read_recipe(recipe: str | Path) -> dict[str, Any]:
    r"""Read the options in a TOML file; its keys are the fields of :class:`TrainConfig`.

    Args:
        recipe: the path of the file, or ``"best"``, the recipe of the package that reached the highest
            accuracy on validation images so far. A file of that name is ``"./best"``.

    Raises:
        TrainingError: the file cannot be read, is not TOML, has no options, or has an unknown key or a value
            of another type.

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
        values = tomllib.loads(content_of(path).decode())
    except OSError as error:
        known = ", ".join(sorted(shipped))
        raise TrainingError(
            f"cannot read recipe {path}: {error.strerror}; expected a TOML file, or one that ships: {known}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"recipe {path} is not TOML: {error}") from error
    if not values:
        raise TrainingError(f'recipe {path} has no options; write some, such as model = "resnet20"')
    check_options(values, f"recipe {path}")
    return values
