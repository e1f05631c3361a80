"""Reading of grids from their TOML files."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxconnect.base.files import content_of
from proxconnect.errors import ProxConnectError, TrainingError, unknown_name
from proxconnect.experiments._methods import (
    Training,
    key_of,
    method_options,
    read_pairs,
    read_trainings,
)
from proxconnect.experiments._values import FACTORS, check_keys, listed, options_of, text_of
from proxconnect.experiments.grid import REGIMES, Cell, Grid, Table, label_of
from proxconnect.trainer.config import check_options

_TABLE_KEYS = ("title", "regime", "full_precision", "options", "method_options", "pair", *FACTORS)
_GRID_KEYS = ("title", "data", "protocol", "pairs", "options", "table")
_NAME = re.compile(r"[A-Za-z0-9+_.-]+")


def read_grid(path: Path, changes: Mapping[str, Any] | None = None) -> Grid:
    r"""Read the grid in the TOML file ``path``; ``recipes/README.md`` describes the keys of the file.

    Args:
        path: the file.
        changes: options of ``proxconnect train`` for all cells, in place of those in the file.

    Raises:
        TrainingError: the file cannot be read, a key or value is unknown, two cells have one name, or a cell
            starts from a cell that does not come before it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "small.toml"
    >>> _ = file.write_text('''
    ... title = "A small grid"
    ... [[table]]
    ... title = "Full precision"
    ... regime = "fp"
    ... model = "resnet20"
    ... [[table]]
    ... title = "1-bit weights"
    ... regime = "ft"
    ... full_precision = "resnet20-fp-s{seed}"
    ... model = "resnet20"
    ... setting = "bw"
    ... method = ["bc", "bnn++"]
    ... ''')
    >>> [cell.name for cell in read_grid(file).cells]
    ['resnet20-fp-s0', 'resnet20-bw-ft-bc-s0', 'resnet20-bw-ft-bnn++-s0']
    """
    try:
        values = tomllib.loads(content_of(path).decode())
    except OSError as error:
        raise TrainingError(f"cannot read grid {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"grid {path} is not TOML: {error}") from error
    where = f"grid {path}"
    check_keys(values, _GRID_KEYS, where)
    shared = options_of(values, "options", where)
    tables = values.get("table")
    if not isinstance(tables, list) or not tables:
        raise TrainingError(f"{where} has no cells; expected at least one [[table]]")
    grid = Grid(
        name=path.stem,
        title=text_of(values, "title", where),
        data=text_of(values, "data", where, ""),
        protocol=text_of(values, "protocol", where, ""),
        pairs=(),
        tables=tuple(_table(table, shared, changes or {}, where) for table in tables),
    )
    _check_order(grid, where)
    return replace(grid, pairs=read_pairs(values.get("pairs", []), grid.tables, where))


def _table(
    values: Mapping[str, Any], shared: Mapping[str, Any], changes: Mapping[str, Any], where: str
) -> Table:
    title = text_of(values, "title", where)
    where = f"{where}, table {title!r}"
    check_keys(values, _TABLE_KEYS, where)
    regime = text_of(values, "regime", where)
    if regime not in REGIMES:
        raise TrainingError(f"{where}: {unknown_name('regime', regime, REGIMES)}")
    if (regime == "fp") == ("full_precision" in values):
        raise TrainingError(
            f"{where}: full_precision names the full-precision cell to start from or compare with, "
            "in every regime but fp"
        )
    options = {**shared, **options_of(values, "options", where), **changes}
    own_pair = options.pop("pair", None)
    trainings = read_trainings(values, regime, own_pair, where)
    return Table(title, regime, tuple(_cells(values, regime, options, trainings, where)))


def _cells(
    values: Mapping[str, Any],
    regime: str,
    options: Mapping[str, Any],
    trainings: list[Training],
    where: str,
) -> Iterator[Cell]:
    if regime == "fp":
        values = {"setting": "fp", **values}
    factors = {key: trainings if key == "method" else listed(values, key, where) for key in FACTORS}
    own = method_options(values, trainings, where)
    # Options that are lists are factors too; their values then stand in the cell's name.
    varied = {key: value for key, value in options.items() if isinstance(value, list)}
    for chosen in itertools.product(*factors.values(), *varied.values()):
        cell = dict(zip([*factors, *varied], chosen, strict=True))
        training = cell.pop("method")
        given = {**options, **cell, **own.get(key_of(training), {}), **training}
        check_options(given, where)
        start = values.get("full_precision")
        if start is not None:
            start = (
                str(start)
                .replace("{model}", _fit_for_a_folder(given["model"]))
                .replace("{seed}", str(given["seed"]))
            )
        if regime in ("pt", "ft"):
            given["init"] = start
        if regime == "pt":
            given["epochs"] = 0
        own_values = {key: cell[key] for key in varied}
        made = Cell(_name(regime, given, own_values), regime, start, given, own_values)
        try:
            _ = made.config
        except ProxConnectError as error:
            raise TrainingError(f"{where}, cell {made.name}: {error}") from error
        yield made


def _name(regime: str, options: Mapping[str, Any], varied: Mapping[str, Any]) -> str:
    parts = [_fit_for_a_folder(options["model"])]
    if regime == "fp":
        variant = options.get("block", options.get("nonlinearity"))
        parts += [variant, "fp"] if variant else ["fp"]
    else:
        parts += [options["setting"], regime, _fit_for_a_folder(label_of(options))]
    parts += [_fit_for_a_folder(f"{key}{value}") for key, value in varied.items()]
    return "-".join([*parts, f"s{options['seed']}"])


def _fit_for_a_folder(text: str) -> str:
    """Replace the characters in values such as ``activations:2,both:3`` that folders' names must not have."""
    return re.sub(r"[^A-Za-z0-9+_.-]+", "-", text)


def _check_order(grid: Grid, where: str) -> None:
    known: list[str] = []
    for cell in grid.cells:
        if not _NAME.fullmatch(cell.name):
            raise TrainingError(f"{where}: {cell.name!r} cannot name a folder")
        if cell.name in known:
            _refuse_pairs_of_one_name(grid, cell, where)
            raise TrainingError(
                f"{where} plans cell {cell.name} twice; give one of them another seed or option"
            )
        for needed in dict.fromkeys((*cell.needs, *filter(None, [cell.full_precision]))):
            if needed not in known:
                raise TrainingError(
                    f"{where}, cell {cell.name}: {unknown_name('earlier cell', needed, known)}"
                )
        known.append(cell.name)


def _refuse_pairs_of_one_name(grid: Grid, cell: Cell, where: str) -> None:
    """Refuse ``cell`` and an earlier one of its name whose pairs of one's own are different objects."""
    twins = (other.options.get("pair") for other in grid.cells if other.name == cell.name)
    places = [place for place in dict.fromkeys(twins) if place is not None]
    if len(places) > 1:
        raise TrainingError(
            f"{where}: the pairs {' and '.join(places)} are both named {cell.label!r}; give them different "
            "names, as in ForwardBackward(..., name='wide')"
        )
