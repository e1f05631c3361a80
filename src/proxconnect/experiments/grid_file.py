"""Reading of grids from their TOML files."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.files import content_of
from proxconnect.errors import ProxConnectError, TrainingError, unknown_name
from proxconnect.experiments.grid import REGIMES, Cell, Grid, Table, label_of
from proxconnect.optim import RULES, default_method
from proxconnect.quantizers import own_pair
from proxconnect.trainer.config import check_options

_FACTORS = ("model", "method", "setting", "seed")
_TABLE_KEYS = ("title", "regime", "full_precision", "options", "method_options", "pair", *_FACTORS)
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
    _check_keys(values, _GRID_KEYS, where)
    shared = _mapping(values, "options", where)
    tables = values.get("table")
    if not isinstance(tables, list) or not tables:
        raise TrainingError(f"{where} has no cells; expected at least one [[table]]")
    grid = Grid(
        name=path.stem,
        title=_text(values, "title", where),
        data=_text(values, "data", where, ""),
        protocol=_text(values, "protocol", where, ""),
        pairs=_pairs(values.get("pairs", []), where),
        tables=tuple(_table(table, shared, changes or {}, where) for table in tables),
    )
    _check_order(grid, where)
    return grid


def _table(
    values: Mapping[str, Any], shared: Mapping[str, Any], changes: Mapping[str, Any], where: str
) -> Table:
    title = _text(values, "title", where)
    where = f"{where}, table {title!r}"
    _check_keys(values, _TABLE_KEYS, where)
    regime = _text(values, "regime", where)
    if regime not in REGIMES:
        raise TrainingError(f"{where}: {unknown_name('regime', regime, REGIMES)}")
    if (regime == "fp") == ("full_precision" in values):
        raise TrainingError(
            f"{where}: full_precision names the full-precision cell to start from or compare with, "
            "in every regime but fp"
        )
    options = {**shared, **_mapping(values, "options", where), **changes}
    own_pairs = [value for value in (values.get("pair"), options.pop("pair", None)) if value is not None]
    if own_pairs and regime != "fp":
        if "method" in values or len(own_pairs) > 1:
            raise TrainingError(
                f"{where}: give one of method and pair; a pair of your own may stand among methods too, "
                'as in method = ["bnn++", "module:object"]'
            )
        values = {**values, "method": own_pairs[0]}
    return Table(title, regime, tuple(_cells(values, regime, options, where)))


def _cells(values: Mapping[str, Any], regime: str, options: Mapping[str, Any], where: str) -> Iterator[Cell]:
    if regime == "fp":
        values = {"setting": "fp", "method": "fp", **values}
    factors = {key: _listed(values, key, where) for key in _FACTORS}
    factors["method"] = [_training(entry, where) for entry in factors["method"]]
    own = _method_options(values, factors["method"], where)
    # Options that are lists are factors too; their values then stand in the cell's name.
    varied = {key: value for key, value in options.items() if isinstance(value, list)}
    for chosen in itertools.product(*factors.values(), *varied.values()):
        cell = dict(zip([*factors, *varied], chosen, strict=True))
        training = cell.pop("method")
        given = {**options, **cell, **own.get(_key(training), {}), **training}
        check_options(given, where)
        start = values.get("full_precision")
        if start is not None:
            start = str(start).replace("{model}", given["model"]).replace("{seed}", str(given["seed"]))
        if regime in ("pt", "ft"):
            given["init"] = start
        if regime == "pt":
            given["epochs"] = 0
        own_values = {key: cell[key] for key in varied}
        made = Cell(_name(regime, given, own_values), regime, start, given, own_values)
        try:
            _ = made.config
        except TrainingError as error:
            raise TrainingError(f"{where}, cell {made.name}: {error}") from error
        yield made


def _training(entry: Any, where: str) -> dict[str, Any]:
    """Read a method, a pair of one's own as ``module:object``, or a step rule as ``{ rule = "pq" }``."""
    if isinstance(entry, dict):
        _check_keys(entry, ("method", "rule"), where)
        rule = _text(entry, "rule", where)
        if rule not in RULES:
            raise TrainingError(f"{where}: {unknown_name('rule', rule, RULES)}")
        return {"method": default_method(rule), **entry}
    if not isinstance(entry, str) or ":" not in entry:
        return {"method": entry}
    try:
        return {"method": own_pair(entry).name, "pair": entry}
    except ProxConnectError as error:
        raise TrainingError(f"{where}: {error}") from error


def _key(training: Mapping[str, Any]) -> str:
    """Name a training in ``method_options``: by ``module:object`` for a pair, else as the tables do."""
    return str(training.get("pair", label_of(training)))


def _method_options(
    values: Mapping[str, Any], trainings: list[dict[str, Any]], where: str
) -> dict[str, dict[str, Any]]:
    own = values.get("method_options", {})
    if not isinstance(own, dict):
        raise TrainingError(
            f"{where}: method_options is {own!r}; expected a table of options for each method"
        )
    methods = [_key(training) for training in trainings]
    for method in own:
        if method not in methods:
            raise TrainingError(f"{where}: method_options of {unknown_name('method', method, methods)}")
    return {method: _mapping(own, method, where) for method in own}


def _name(regime: str, options: Mapping[str, Any], varied: Mapping[str, Any]) -> str:
    parts = [options["model"]]
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
            raise TrainingError(
                f"{where} plans cell {cell.name} twice; give one of them another seed or option"
            )
        for needed in dict.fromkeys((*cell.needs, *filter(None, [cell.full_precision]))):
            if needed not in known:
                raise TrainingError(
                    f"{where}, cell {cell.name}: {unknown_name('earlier cell', needed, known)}"
                )
        known.append(cell.name)


def _pairs(values: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(values, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        for pair in values
    ):
        raise TrainingError(f"{where}: pairs are lists of two methods, a pair and its repair, not {values!r}")
    return tuple((before, after) for before, after in values)


def _listed(values: Mapping[str, Any], key: str, where: str) -> list[Any]:
    if key not in values and key != "seed":
        raise TrainingError(f"{where} has no {key}")
    value = values.get(key, 0)
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise TrainingError(f"{where}: {key} is an empty list")
    return listed


def _text(values: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = values.get(key, default)
    if not isinstance(value, str):
        raise TrainingError(f"{where}: {key} is {value!r}; expected a text")
    return value


def _mapping(values: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = values.get(key, {})
    if not isinstance(value, dict):
        raise TrainingError(f"{where}: {key} is {value!r}; expected a table of options")
    for owned in ("data", "init", *_FACTORS):
        if owned in value:
            raise TrainingError(f"{where}: {owned} is no option here; the grid itself says what it is")
    return value


def _check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            raise TrainingError(f"{where}: {unknown_name('key', key, known)}")
