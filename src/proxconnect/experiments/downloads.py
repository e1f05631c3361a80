"""The tables of a page as files: numbers in CSV, and LaTeX as the page shows them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxconnect.base.table import Table
from proxconnect.experiments.tables import (
    begun_tables,
    difference_numbers,
    difference_table,
    method_numbers,
    method_table,
    pair_numbers,
    pair_table,
)

_LONGEST = 60
PAIRS = "paired-differences"
TABLES_FOLDER = "tables"
"""The folder beside the pages with a folder of these files for each grid."""


def table_files(results: Mapping[str, Any]) -> dict[str, str]:
    """Write every table of a grid's page as CSV and as LaTeX; the keys are names of files.

    CSV has numbers as they are: accuracies and differences in points of 100, times in minutes. LaTeX needs
    the package booktabs.
    """
    found: dict[str, str] = {}

    def add(name: str, caption: str, table: Table, numbers: Sequence[Mapping[str, Any]]) -> None:
        if table.rows:
            found[f"{name}.csv"] = _csv(numbers)
            found[f"{name}.tex"] = table.latex(caption, label=f"tab:{results['grid']}-{name}")

    for table, name in zip(begun_tables(results), file_names(results), strict=True):
        title, cells = str(table["title"]), table["cells"]
        add(
            name, f"{title}. {table['regime']}.", method_table(results, cells), method_numbers(results, cells)
        )
        caption = f"{title}: paired differences to the first row of each network."
        add(
            f"{name}-differences",
            caption,
            difference_table(results, cells),
            difference_numbers(results, cells),
        )
    pairs = results["pairs"]
    caption = f"{results['title']}: paired differences of methods."
    add(PAIRS, caption, pair_table(results, pairs), pair_numbers(results, pairs))
    return found


def file_names(results: Mapping[str, Any]) -> list[str]:
    """Name the files of each table of a page after its title.

    >>> table = {"title": "ResNet-20, 1-bit weights", "regime": "From scratch", "cells": []}
    >>> file_names({"tables": [table, table]})
    ['resnet-20-1-bit-weights', 'resnet-20-1-bit-weights-2']
    """
    names: list[str] = []
    for table in begun_tables(results):
        words = re.sub(r"[^a-z0-9]+", "-", str(table["title"]).lower()).strip("-")
        if len(words) > _LONGEST:
            words = words[:_LONGEST].rpartition("-")[0] or words[:_LONGEST]
        name = words if words and words != PAIRS else "table"
        count = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", known) is not None for known in names)
        names.append(f"{name}-{count + 1}" if count else name)
    return names


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _number(value) for key, value in row.items()} for row in listed)
    return stream.getvalue()


def _number(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
