"""Grids of training runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxconnect.quantizers.catalogue import METHOD_OF_RULE, PAIRS
from proxconnect.trainer import TrainConfig

REGIMES = {
    "fp": "Full precision, from scratch",
    "pt": "Binarized after training, BatchNorm settled, not trained further",
    "ft": "Fine-tuned from the full-precision network",
    "e2e": "From scratch",
}


# Names that a pair of one's own has if it was given none; a repair adds ", repaired" to them.
_UNNAMED = ("custom", "synthesized")


def label_of(options: Mapping[str, Any]) -> str:
    """Name a training in tables: by its method, or by its step rule where that is not ``pc``.

    A pair of one's own that has no name, or that of a method of the catalogue, is named ``module:object``.

    >>> label_of({"method": "bnn++"}), label_of({"method": "bc", "rule": "pq"})
    ('bnn++', 'pq')
    >>> label_of({"method": "bc", "rule": "rpc"})
    'bc rpc'
    >>> label_of({"method": "soft sign", "pair": "pairs:soft"})
    'soft sign'
    >>> label_of({"method": "custom", "pair": "pairs:soft"})
    'pairs:soft'
    """
    method, rule = str(options["method"]), options.get("rule", "pc")
    if "pair" in options and (method in PAIRS or method.partition(",")[0] in _UNNAMED):
        method = str(options["pair"])
    if rule == "pc":
        return method
    return str(rule) if METHOD_OF_RULE.get(rule) == method else f"{method} {rule}"


@dataclass(frozen=True)
class Cell:
    """One planned training run.

    Args:
        name: name of the cell, of its folder and of its record.
        regime: one of :data:`REGIMES`.
        full_precision: name of the full-precision cell that the cell is compared with; under ``pt`` and
            ``ft`` the cell starts from it. None for full precision itself.
        options: options of ``proxconnect train`` that differ from their defaults; ``init`` and ``teacher``
            name cells.
        varied: the options that take several values in the cell's table.
    """

    name: str
    regime: str
    full_precision: str | None
    options: Mapping[str, Any]
    varied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the method or step rule in tables, see :func:`label_of`."""
        return label_of(self.options)

    @property
    def config(self) -> TrainConfig:
        """The whole configuration with every default filled in; ``data`` is left to the run."""
        return TrainConfig(**{"data": "-", **self.options}).resolved()

    @property
    def needs(self) -> tuple[str, ...]:
        """The cells that have to be done before this one."""
        return tuple(self.options[key] for key in ("init", "teacher") if key in self.options)


@dataclass(frozen=True)
class Table:
    """Cells that belong side by side."""

    title: str
    regime: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """All cells of a file, in the order of work.

    Args:
        name: name of the grid's folder of runs and of its results: the name of the file without its ending.
        title: headline of the results.
        data: description of the data in the results.
        protocol: one paragraph that describes the training of the cells.
        pairs: pairs (method, its repair) to compare, seed by seed, named as in tables.
        tables: the cells.
    """

    name: str
    title: str
    data: str
    protocol: str
    pairs: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all tables, in the order of work: a cell stands after those that it starts from.

        In each table the cells of one seed come before those of the next: methods can be compared early.
        """
        return tuple(
            cell
            for table in self.tables
            for cell in sorted(table.cells, key=lambda cell: int(cell.options.get("seed", 0)))
        )
