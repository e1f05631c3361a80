"""Pages are made from JSON alone; what is mostly not done is named and not shown."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from drawing import figures_of
from hypothesis import given
from hypothesis import strategies as st
from looking import every

from proxconnect.base.table import Table
from proxconnect.errors import TrainingError
from proxconnect.experiments import Results, figures, read_grid, record_of
from proxconnect.experiments.differences import row_differences
from proxconnect.experiments.downloads import table_files
from proxconnect.experiments.figures import FIGURES
from proxconnect.experiments.findings import PARTS, with_rendered_parts
from proxconnect.experiments.page import page
from proxconnect.experiments.render import render
from proxconnect.experiments.tables import method_table, pair_table

Finish = Callable[..., None]


def test_rows_put_seeds_together(results: Results) -> None:
    text = page(results.to_dict())
    assert "| `bc` | 1 of 2 | 85.00 % | 85.00 % | +5.00 |  | 1,000 | 300 | 0 |" in text
    assert "| `bnn++` | 2 | 87.20 ± 1.70 % | 87.20 ± 1.70 % | +3.80 |" in text
    assert "7 runs recorded neither commit nor machine" in text


def test_networks_of_one_table_have_rows_of_their_own(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace('model = "resnet20"', 'model = ["resnet20", "resnet56"]')
    recipe.write_text(text.replace('setting = "bw"', 'setting = ["bw", "bwa"]').replace("pairs = ", "#"))
    results = Results(read_grid(recipe), tmp_path / "none.json").to_dict()
    made = "\n".join(method_table(results, table["cells"]).markdown() for table in results["tables"])
    assert "| resnet56 `fp` | 0 of 2 | pending |" in made
    assert "| resnet20 bwa `bnn++` | 0 of 2 | pending |" in made


def test_differences_and_what_seeds_tell_are_rendered(results: Results, tmp_path: Path) -> None:
    values = results.to_dict()
    first, second = (values["cells"][f"resnet20-bw-ft-bc-s{seed}"] for seed in (0, 1))
    second |= {"status": "done", "record": {**first["record"], "packed": 0.86}}
    (tmp_path / "data" / "small.json").write_text(json.dumps(values))
    text = "<!-- rendered: {} -->\n<!-- end -->"
    made = with_rendered_parts(text.format("differences of small, 1-bit weights"), tmp_path / "data")
    assert "| `bnn+` | 2 | -4.50 | -10.85 to +1.85 | within noise | 3 |" in made  # of -5 and -4 points
    made = with_rendered_parts(text.format("power of small, 1-bit weights"), tmp_path / "data")
    # The spreads are 0.707 and 0.990, and the fractiles of Student's t 4.303, 2.776, 2.262 and 2.045.
    assert "| 2 | 0.85 | 2.11 | 1.05 | 0.61 | 0.32 |" in made


def test_a_table_of_which_more_than_half_is_pending_is_only_named(
    recipe: Path, tmp_path: Path, finish: Finish
) -> None:
    results = Results(read_grid(recipe), tmp_path / "data" / "small.json")
    first, *_ = results.grid.cells
    finish(first, tmp_path, 0.9)
    results.add(first, record_of(first, tmp_path / first.name))
    text = page(results.to_dict())
    assert "1 of 8 cells are done" in text
    assert "## Full precision" in text
    assert "## Not run, or less than half of it\n\n- 1-bit weights\n" in text
    assert "Paired differences" not in text


def test_a_grid_of_which_nothing_is_done_has_no_page(recipe: Path, tmp_path: Path) -> None:
    assert render(Results(read_grid(recipe), tmp_path / "none.json").to_dict(), tmp_path) == []


def test_pairs_are_compared_seed_by_seed(results: Results) -> None:
    row = pair_table(results.to_dict(), [("bnn+", "bnn++")]).markdown().splitlines()[-1]
    # Differences 6.0 and 6.4 points: mean 6.2, half of the interval 12.71 * 0.2828 / sqrt(2).
    start = "| 1-bit weights | `bnn+` | `bnn++` | 2 of 2 | +6.20 | +3.66 to +8.74 | `bnn++` is better |"
    assert row == f"{start} 2 |"
    one = results.to_dict()
    for seed_one in ("resnet20-bw-ft-bnn+-s1", "resnet20-bw-ft-bnn++-s1"):
        del one["cells"][seed_one]["record"]
    # One seed: 1.96 sqrt(2 * 0.8 * 0.2 / 400) = 5.54 points, of the validation images alone.
    assert (
        pair_table(one, [("bnn+", "bnn++")])
        .markdown()
        .splitlines()[-1]
        .endswith("| 1 of 2 | +6.00 | +0.46 to +11.54 | `bnn++` is better |  |")
    )


def test_findings_are_rendered_between_their_marks(results: Results, tmp_path: Path) -> None:
    text = "Said.\n<!-- rendered: {} -->\nold\n<!-- end -->\nMore.\n"
    made = with_rendered_parts(text.format("pairs of small"), tmp_path / "data")
    assert "`bnn++` is better" in made
    assert "old" not in made
    assert made.startswith("Said.\n<!-- rendered: pairs of small -->\n| table |")
    assert made.endswith("|\n<!-- end -->\nMore.\n")
    assert with_rendered_parts(made, tmp_path / "data") == made
    made = with_rendered_parts(text.format("methods of small, 1-bit weights"), tmp_path / "data")
    assert "| `bnn++` |" in made
    assert "`fp`" not in made
    made = with_rendered_parts(text.format("methods of small"), tmp_path / "data")
    assert "| fp `fp`" in made
    assert "| bw `bnn++`" in made
    made = with_rendered_parts(text.format("latents of small, 1-bit weights"), tmp_path / "data")
    assert "| `bc` | 0 | 0.05 |  |  |  |\n| `bc` | 1 | pending |" in made
    made = with_rendered_parts(text.format("pairs of small, bnn++ and bc"), tmp_path / "data")
    assert "| `bnn++` | `bc` | 1 of 2 | -1.00 |" in made
    assert "within noise" in made
    for what, words in {
        "pair of small": "unknown rendered part 'pair'; did you mean 'pairs'",
        "pairs of smal": "no results of grid 'smal'",  # codespell:ignore
        "methods of small, 2-bit weights": "unknown table '2-bit weights'; did you mean '1-bit weights'",
    }.items():
        with pytest.raises(TrainingError, match=words):
            with_rendered_parts(text.format(what), tmp_path / "data")


def test_a_page_needs_the_json_alone(results: Results) -> None:
    assert page(json.loads(results.path.read_text())) == page(results.to_dict())


def test_accumulators_stand_beside_wide_ones() -> None:
    record = {"packed": 0.8, "history": {}}
    narrow = {"packed": 0.79, "history": {"overflow_rate": [0.5, 0.25]}}
    shared = {"model": "resnet20", "regime": "ft", "method": "bc", "seed": 0}
    cells = {
        "resnet20-bwa-ft-bc-s0": {"setting": "bwa", "record": record, **shared},
        "resnet20-bwaa-ft-bc-s0": {"setting": "bwaa", "record": narrow, **shared},
        "resnet20-bwa-e2e-bc-s0": {"setting": "bwa", "record": record, **shared},
        "resnet20-bwaa-e2e-bc-s0": {"setting": "bwaa", **shared, "regime": "e2e"},
    }
    rows = PARTS["accumulators"]({"cells": cells}, "").splitlines()[2:]
    assert rows == [
        "| resnet20 | ft | `bc` | 0 | 80.00 % | 79.00 % | +1.00 | 0.25 |",
        "| resnet20 | e2e | `bc` | 0 | pending |  |  |  |",
    ]


def test_rows_are_compared_with_the_first_of_their_network_over_their_seeds() -> None:
    def cells(model: str, *accuracies: float | None) -> list[dict[str, object]]:
        return [
            {
                "model": model,
                "setting": "bw",
                "seed": seed,
                **({"record": {"packed": share}} if share else {}),
            }
            for seed, share in enumerate(accuracies)
        ]

    groups = {
        "first": cells("a", 0.80, 0.82, 0.81),
        "second": cells("a", 0.86, 0.884, None),
        "one seed": cells("a", 0.9, None, None),
        "another network": cells("b", 0.5, 0.5, 0.5),
        "beside it": cells("b", 0.5, 0.6, 0.4),
    }
    second, beside = row_differences(groups)
    assert (second.row, second.first, second.seeds, second.needed) == ("second", "first", 2, 2)
    # Differences 6.0 and 6.4 points: half of the interval is 12.71 * 0.2828 / sqrt(2).
    assert (second.mean, second.half) == pytest.approx((6.2, 2.541), abs=1e-3)
    assert (beside.row, beside.first, beside.seeds, beside.needed) == (
        "beside it", "another network", 3, None,
    )  # fmt: skip


def test_every_table_of_a_page_has_files(results: Results, tmp_path: Path) -> None:
    values = results.to_dict()
    for name in ("resnet20-bw-ft-bc-s0", "resnet20-bw-ft-bc-s1"):
        values["cells"][name] = {
            **values["cells"]["resnet20-bw-ft-bnn+-s0"],
            "method": "bc",
            "seed": int(name[-1]),
        }
    folder = tmp_path / "tables" / "small"
    folder.mkdir(parents=True)
    for old in ("gone.csv", "gone.tex", "mine.txt"):
        (folder / old).touch()
    written = render(values, tmp_path)
    names = ["1-bit-weights", "1-bit-weights-differences", "full-precision", "paired-differences"]
    made = sorted(path.name for path in folder.iterdir())
    assert made == sorted([*(f"{name}.{end}" for name in names for end in ("csv", "tex")), "mine.txt"])
    assert {folder / name for name in made if name != "mine.txt"} < set(written)
    links = re.findall(r"\]\((tables/[^)]*)\)", (tmp_path / "small.md").read_text())
    assert sorted(links) == sorted(f"tables/small/{name}" for name in made if name != "mine.txt")
    rows = list(csv.DictReader(io.StringIO((folder / "1-bit-weights.csv").read_text())))
    assert [row["method"] for row in rows] == ["bc", "bnn+", "bnn++"]
    assert (rows[2]["seeds"], rows[2]["planned"], rows[2]["bytes"]) == ("2", "2", "1000")
    assert [float(rows[2][key]) for key in ("packed", "packed_sd", "below_full_precision")] == pytest.approx(
        [87.2, 1.69706, 3.8]
    )
    (pair,) = csv.DictReader(io.StringIO((folder / "paired-differences.csv").read_text()))
    assert (pair["first"], pair["second"], pair["seeds_needed"]) == ("bnn+", "bnn++", "2")
    assert [float(pair[key]) for key in ("difference", "low", "high")] == pytest.approx(
        [6.2, 3.65876, 8.74124], abs=1e-4
    )
    latex = (folder / "1-bit-weights.tex").read_text()
    assert (
        r"\texttt{bnn++} & 2 & 87.20 $\pm$ 1.70 \% & 87.20 $\pm$ 1.70 \% & +3.80 &  & 1,000 & 300 & 0 \\"
        in latex
    )
    assert r"\caption{1-bit weights. Fine-tuned from the full-precision network.}" in latex


def test_tables_of_one_title_have_files_of_their_own(results: Results) -> None:
    values = results.to_dict()
    values["tables"] = [*values["tables"], {**values["tables"][1], "title": "1-bit weights!"}]
    names = {name.partition(".")[0] for name in table_files(values)}
    assert names == {"full-precision", "1-bit-weights", "1-bit-weights-2", "paired-differences"}


@given(st.text(max_size=30))
def test_no_text_breaks_latex(text: str) -> None:
    plain = text.replace("\n", " ").replace("\r", " ").replace("`", "'")
    table = Table(("column", "number"), [(plain, "-1.5")], numbers=["number"])
    latex = table.latex(plain, "tab:a")
    row = latex.split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert row.endswith(" & $-$1.5 \\\\\n")
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}", "", row)
    bare = (
        re.sub(r"\\[&%$#_{}]", "", bare.removesuffix(" & $-$1.5 \\\\\n"))
        .replace("$-$", "")
        .replace("$\\pm$", "")
    )
    assert not re.findall(r"[&%$#_{}~^\\<>]", bare)


def test_curves_have_a_line_for_every_run(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = results.to_dict()
    done = [cell for cell in values["cells"].values() if cell["status"] == "done"]
    assert not FIGURES["curves"].can_be_drawn(values)  # these runs have no such history
    for cell in done:
        cell["record"]["history"] = {"train_loss": [2.0, 1.0], "val_accuracy": [0.5, 0.75]}
    assert FIGURES["curves"].can_be_drawn(values)
    drawn = figures_of(figures, monkeypatch)
    for name in ("first.svg", "second.svg"):
        FIGURES["curves"].draw(values, tmp_path / name)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    losses, accuracies, legend = drawn[0].axes[3:6]
    assert len(losses.lines) == len(accuracies.lines) == 5  # of bc one seed
    assert every(list(line.get_ydata()) == [50.0, 75.0] for line in accuracies.lines)
    assert [text.get_text() for text in legend.get_legend().get_texts()] == ["bc", "bnn+", "bnn++"]
