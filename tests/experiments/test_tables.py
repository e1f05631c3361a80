"""Pages are made from JSON alone; what is mostly not done is named and not shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxconnect.errors import TrainingError
from proxconnect.experiments import Results, read_grid, record_of
from proxconnect.experiments.findings import PARTS, with_rendered_parts
from proxconnect.experiments.render import render
from proxconnect.experiments.tables import method_table, page, pair_table

Finish = Callable[..., None]


@pytest.fixture
def results(recipe: Path, tmp_path: Path, finish: Finish) -> Results:
    """Seeds 0 and 1 of full precision, bnn+ and bnn++; of bc one seed."""
    grid = read_grid(recipe)
    accuracies = {
        "resnet20-fp-s0": 0.90, "resnet20-fp-s1": 0.92,
        "resnet20-bw-ft-bc-s0": 0.85,
        "resnet20-bw-ft-bnn+-s0": 0.80, "resnet20-bw-ft-bnn+-s1": 0.82,
        "resnet20-bw-ft-bnn++-s0": 0.86, "resnet20-bw-ft-bnn++-s1": 0.884,
    }  # fmt: skip
    results = Results(grid, tmp_path / "data" / "small.json")
    for cell in grid.cells:
        if cell.name in accuracies:
            finish(cell, tmp_path, accuracies[cell.name])
            results.add(cell, record_of(cell, tmp_path / cell.name))
    return results


def test_rows_put_seeds_together(results: Results) -> None:
    text = page(results.to_dict())
    assert "| `bc` | 1 of 2 | 85.00 % | 85.00 % | +5.00 |  | 1,000 | 300 | 0 |" in text
    assert "| `bnn++` | 2 | 87.20 ± 1.70 % | 87.20 ± 1.70 % | +3.80 |" in text
    assert "7 runs recorded neither commit nor machine" in text


def test_networks_of_one_table_have_rows_of_their_own(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace('model = "resnet20"', 'model = ["resnet20", "resnet56"]')
    recipe.write_text(text.replace('setting = "bw"', 'setting = ["bw", "bwa"]').replace("pairs = ", "#"))
    results = Results(read_grid(recipe), tmp_path / "none.json").to_dict()
    made = "\n".join(method_table(results, table["cells"]) for table in results["tables"])
    assert "| resnet56 `fp` | 0 of 2 | pending |" in made
    assert "| resnet20 bwa `bnn++` | 0 of 2 | pending |" in made


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
    assert "Pairs and their repairs" not in text


def test_a_grid_of_which_nothing_is_done_has_no_page(recipe: Path, tmp_path: Path) -> None:
    assert render(Results(read_grid(recipe), tmp_path / "none.json").to_dict(), tmp_path) == []


def test_pairs_are_compared_seed_by_seed(results: Results) -> None:
    row = pair_table(results.to_dict(), [("bnn+", "bnn++")]).splitlines()[-1]
    # Differences 6.0 and 6.4 points: mean 6.2, half of the interval 12.71 * 0.2828 / sqrt(2).
    assert row == "| 1-bit weights | `bnn+` | `bnn++` | 2 of 2 | +6.20 | +3.66 to +8.74 | `bnn++` is better |"
    one = results.to_dict()
    for seed_one in ("resnet20-bw-ft-bnn+-s1", "resnet20-bw-ft-bnn++-s1"):
        del one["cells"][seed_one]["record"]
    # One seed: 1.96 sqrt(2 * 0.8 * 0.2 / 400) = 5.54 points, of the validation images alone.
    assert (
        pair_table(one, [("bnn+", "bnn++")])
        .splitlines()[-1]
        .endswith("| 1 of 2 | +6.00 | +0.46 to +11.54 | `bnn++` is better |")
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
