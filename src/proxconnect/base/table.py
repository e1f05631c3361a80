"""The table that every command and benchmark prints: as text for a terminal, as Markdown for a page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from io import StringIO

_UNWRAPPED = 10_000
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}


class Table:
    """Rows of text under named columns.

    Args:
        columns: the names of the columns.
        rows: one text for each column.
        numbers: the columns whose text is aligned to the right.
        totals: rows that stand below a line at the end.

    >>> table = Table(("layer", "bytes"), [("conv", "1,152"), ("fc", "80")], numbers=["bytes"])
    >>> print(table)
    layer  bytes
    ------------
    conv   1,152
    fc        80
    >>> print(table.markdown())
    | layer | bytes |
    | --- | --- |
    | conv | 1,152 |
    | fc | 80 |
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        numbers: Collection[str] = (),
        totals: Iterable[Sequence[str]] = (),
    ) -> None:
        self.columns, self.rows, self.totals = tuple(columns), list(rows), list(totals)
        self.numbers = frozenset(numbers)

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Write the table for a terminal of ``width`` characters, in which cells wrap; None never wraps."""
        from rich.box import Box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        blank, line = "    ", " -- "
        box = Box("\n".join([blank, blank, line, blank, line, line, blank, blank]) + "\n", ascii=True)
        table = RichTable(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
        for column in self.columns:
            table.add_column(
                Text(column), justify="right" if column in self.numbers else "left", overflow="fold"
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        table.add_section()
        for row in self.totals:
            table.add_row(*map(Text, row))
        console = Console(file=StringIO(), width=width or _UNWRAPPED, color_system=None, legacy_windows=False)
        with console.capture() as captured:
            console.print(table)
        return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))

    def markdown(self) -> str:
        """Write the table in Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows, *self.totals]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def latex(self, caption: str, label: str) -> str:
        r"""Write the table for LaTeX with the package booktabs; text between backticks is in ``\texttt``.

        Args:
            caption: stands above the table.
            label: the table's name in references.

        >>> table = Table(("method", "%"), [("`bnn_x`", "-1.5 ± 0.2")], numbers=["%"])
        >>> print(table.latex("A table", "tab:a"))
        % needs \usepackage{booktabs}
        \begin{table}
        \centering
        \caption{A table}
        \label{tab:a}
        \begin{tabular}{lr}
        \toprule
        method & \% \\
        \midrule
        \texttt{bnn\_x} & $-$1.5 $\pm$ 0.2 \\
        \bottomrule
        \end{tabular}
        \end{table}
        """
        columns = "".join("r" if column in self.numbers else "l" for column in self.columns)
        lines = [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{_latex(caption)}}}",
            f"\\label{{{label}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(self.columns),
            r"\midrule",
            *map(_latex_row, self.rows),
            *([r"\midrule", *map(_latex_row, self.totals)] if self.totals else []),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(_latex, cells))} \\\\"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    escaped = re.sub(r"(?<![\w.)}])-(?=\d)", "$-$", escaped)  # a minus sign, not a hyphen
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", escaped)
