"""Methods, pairs of one's own and step rules in a grid's file, and the comparisons between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxconnect.errors import ProxConnectError, TrainingError, unknown_name
from proxconnect.experiments._values import as_list, check_keys, options_of, text_of
from proxconnect.experiments.grid import Table, label_of
from proxconnect.optim import RULES, default_method
from proxconnect.quantizers import own_pair

Training = dict[str, Any]
"""The options ``method``, ``pair`` and ``rule`` of a cell."""


def read_trainings(values: Mapping[str, Any], regime: str, more: Any, where: str) -> list[Training]:
    """Read the methods of a table: those under ``method``, then the pairs under ``pair``, then ``more``.

    Args:
        values: the table.
        regime: its regime; full precision has no method and takes no pair.
        more: a pair of one's own or a list of them, from the options; None for none.
        where: the place of the table, for errors.
    """
    if regime == "fp":
        if "pair" in values:
            raise TrainingError(
                f"{where}: full precision takes no pair; give it to a table of another regime"
            )
        return [{"method": method} for method in as_list(values.get("method", "fp"), "method", where)]
    given = [
        (key, value) for key, value in (("pair", values.get("pair")), ("pair", more)) if value is not None
    ]
    if "method" not in values and not given:
        raise TrainingError(f"{where} has no method")
    methods = as_list(values["method"], "method", where) if "method" in values else []
    pairs = [place for key, value in given for place in as_list(value, key, where)]
    return [_training(entry, where) for entry in methods] + [_own(place, where) for place in pairs]


def _training(entry: Any, where: str) -> Training:
    """Read a method, a pair of one's own as ``module:object``, or either as a table with its step rule."""
    if isinstance(entry, dict):
        check_keys(entry, ("method", "pair", "rule"), where)
        if "pair" in entry:
            if "method" in entry:
                raise TrainingError(f"{where}: {entry!r} names a method and a pair; give one of the two")
            training = _own(entry["pair"], where)
            return training if "rule" not in entry else {**training, "rule": _rule(entry, where)}
        return {"method": default_method(_rule(entry, where)), **entry}
    return _own(entry, where) if isinstance(entry, str) and ":" in entry else {"method": entry}


def _rule(entry: Mapping[str, Any], where: str) -> str:
    rule = text_of(entry, "rule", where)
    if rule not in RULES:
        raise TrainingError(f"{where}: {unknown_name('rule', rule, RULES)}")
    return rule


def _own(place: Any, where: str) -> Training:
    if not isinstance(place, str):
        raise TrainingError(f"{where}: pair is {place!r}; expected 'module:object' or a list of such texts")
    try:
        return {"method": own_pair(place).name, "pair": place}
    except ProxConnectError as error:
        raise TrainingError(f"{where}: {error}") from error


def key_of(training: Training) -> str:
    """Name a training in ``method_options``: by ``module:object`` for a pair, else as the tables do."""
    return str(training.get("pair", label_of(training)))


def method_options(
    values: Mapping[str, Any], trainings: list[Training], where: str
) -> dict[str, dict[str, Any]]:
    """Read the options that single methods of a table have, by :func:`key_of`."""
    own = values.get("method_options", {})
    if not isinstance(own, dict):
        raise TrainingError(
            f"{where}: method_options is {own!r}; expected a table of options for each method"
        )
    methods = [key_of(training) for training in trainings]
    for method in own:
        if method not in methods:
            raise TrainingError(f"{where}: method_options of {unknown_name('method', method, methods)}")
    return {method: options_of(own, method, where) for method in own}


def read_pairs(values: Any, tables: Sequence[Table], where: str) -> tuple[tuple[str, str], ...]:
    """Read the pairs of methods to compare, and name each method as the tables do.

    A pair of one's own is named as in the tables or as ``module:object``.

    Raises:
        TrainingError: a name is in no table, or no table has both.
    """
    if not isinstance(values, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        for pair in values
    ):
        raise TrainingError(f"{where}: pairs are lists of two methods, a pair and its repair, not {values!r}")
    cells = [cell for table in tables for cell in table.cells]
    labels = {cell.label: cell.label for cell in cells if cell.regime != "fp"}
    labels |= {str(cell.options["pair"]): cell.label for cell in cells if "pair" in cell.options}
    for pair in values:
        for name in pair:
            if name not in labels:
                raise TrainingError(f"{where}: pairs {pair!r}: {unknown_name('method', name, labels)}")
    named = tuple((labels[first], labels[second]) for first, second in values)
    for pair in named:
        if not any(set(pair) <= {cell.label for cell in table.cells} for table in tables):
            raise TrainingError(
                f"{where}: pairs {list(pair)!r}: no table has both methods; put them into one table"
            )
    return named
