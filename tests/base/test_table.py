"""Tables as text and as Markdown."""

from __future__ import annotations

from proxconnect.base.table import Table

TABLE = Table(
    ("layer", "shape", "bytes"),
    [("conv", "[3, 4]", "1,152"), ("fully connected", "[red]", "80")],
    numbers=["bytes"],
    totals=[("total", "", "1,232")],
)


def test_text_is_aligned_and_every_cell_stands_as_it_is() -> None:
    assert str(TABLE).split("\n") == [
        "layer            shape   bytes",
        "------------------------------",
        "conv             [3, 4]  1,152",
        "fully connected  [red]      80",
        "------------------------------",
        "total                    1,232",
    ]


def test_a_narrow_terminal_wraps_cells() -> None:
    lines = TABLE.text(width=24).split("\n")
    assert max(map(len, lines)) <= 24
    assert "".join(line[:9].strip() for line in lines if "fully" in line or "connected" in line)


def test_markdown_has_all_rows() -> None:
    assert TABLE.markdown().split("\n") == [
        "| layer | shape | bytes |",
        "| --- | --- | --- |",
        "| conv | [3, 4] | 1,152 |",
        "| fully connected | [red] | 80 |",
        "| total |  | 1,232 |",
    ]
