"""A comparison of a user's own training loop: what it runs, computes, shows, keeps and refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

import proxconnect as pc
from proxconnect.comparison.paired import half_interval, seeds_needed

SHIFT = {"bc": 0.0, "bnn": 0.5, "bnn++": 2.0}
NOISE = (0.1, -0.3, 0.2, 0.0)


def train(method: Any, seed: int) -> float:
    name = getattr(method, "name", method)
    return SHIFT[name] + 10 * seed + NOISE[seed] * len(name)


def test_every_method_runs_with_every_seed_one_seed_after_the_other() -> None:
    calls: list[tuple[object, int]] = []

    def noted(method: object, seed: int) -> float:
        calls.append((method, seed))
        return train(method, seed)

    own = pc.ForwardBackward(torch.tanh, name="bnn++")
    result = pc.compare(["bc", own], noted, seeds=(3, 1))
    assert calls == [("bc", 3), (own, 3), ("bc", 1), (own, 1)]
    assert (result.methods, result.seeds, result.baseline) == (("bc", "bnn++"), (3, 1), "bc")
    assert result.values["bnn++"][1] == {"value": train(own, 1)}


def test_differences_are_those_of_a_paired_test() -> None:
    result = pc.compare(list(SHIFT), train, seeds=4, baseline="bnn")
    values = {method: [train(method, seed) for seed in range(4)] for method in SHIFT}
    for row in result.rows():
        expected = stats.ttest_rel(values[row.method], values["bnn"])
        assert row.mean == pytest.approx(np.mean(values[row.method]))
        assert row.spread == pytest.approx(np.std(values[row.method], ddof=1))
        if row.method != "bnn":
            assert row.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
            assert (row.reading == "within noise") == (expected.pvalue > 0.05)
            assert (row.needed <= 4) == (expected.pvalue < 0.05)
    assert [row.reading for row in result.rows()] == ["lower", "within noise", "higher"]


@given(st.lists(st.integers(-1000, 1000).map(lambda n: n / 128), min_size=2, max_size=8))
@settings(max_examples=30)
def test_seeds_needed_is_the_first_count_that_tells(differences: list[float]) -> None:
    mean, spread = abs(np.mean(differences)), np.std(differences, ddof=1)

    def tells(count: int) -> bool:
        return bool(stats.t.ppf(0.975, count - 1) * spread / math.sqrt(count) < mean)

    needed = seeds_needed(differences)
    if needed is None:
        assert mean == 0 or not tells(10_000)
    else:
        assert tells(needed)
        assert needed == 2 or not tells(needed - 1)
    expected = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    assert half_interval(differences) == pytest.approx(expected, abs=1e-12)


def test_it_prints_a_table_for_each_metric() -> None:
    def both(method: str, seed: int) -> dict[str, Any]:
        return {"accuracy": torch.tensor(0.9 + train(method, seed) / 100), "loss": np.float32(seed)}

    result = pc.compare(["bc", "bnn++"], both, seeds=3)
    assert result.metrics == ("accuracy", "loss")
    text = str(result)
    assert text.count("less bc") == 2
    assert "3 seeds, compared seed by seed" in text
    assert "| bnn++ |" in result.table("loss").markdown()
    with pytest.raises(pc.ProxConnectError, match="unknown metric 'los'"):
        result.table("los")


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    result = pc.compare(["bc", "bnn++"], train, seeds=[2])
    row = result.rows()[1]
    assert row.difference == pytest.approx(train("bnn++", 2) - train("bc", 2))
    assert (row.reading, row.needed, math.isnan(row.half)) == ("one seed", None, True)
    assert "One seed gives no interval" in str(result)
    assert json.loads(result.to_json())["rows"]["value"][1]["half"] is None
    assert result.plot(tmp_path / "one.png").is_file()


def test_the_forest_plot_has_a_line_for_each_method_beside_the_baseline(tmp_path: Path) -> None:
    tall = pc.compare(list(SHIFT), train, seeds=3).plot(tmp_path / "three.png")
    low = pc.compare(["bc", "bnn"], train, seeds=3).plot(str(tmp_path / "two.png"))
    with Image.open(tall) as first, Image.open(low) as second:
        assert first.height > second.height
        assert first.width == second.width
    with pytest.raises(pc.ProxConnectError, match="unknown ending"):
        pc.compare(["bc", "bnn"], train, seeds=2).plot(tmp_path / "two.doc")


def test_an_interrupted_comparison_continues(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "comparison.json"
    calls: list[tuple[str, int]] = []

    def failing(method: str, seed: int) -> float:
        calls.append((method, seed))
        if (method, seed) == ("bnn++", 1):
            raise KeyboardInterrupt
        return train(method, seed)

    with pytest.raises(KeyboardInterrupt):
        pc.compare(["bc", "bnn++"], failing, seeds=3, path=file)
    assert len(calls) == 4
    calls.clear()

    def noted(method: str, seed: int) -> float:
        calls.append((method, seed))
        return train(method, seed)

    result = pc.compare(["bc", "bnn++"], noted, seeds=3, path=file)
    assert calls == [("bnn++", 1), ("bc", 2), ("bnn++", 2)]
    assert result == pc.compare(["bc", "bnn++"], train, seeds=3)
    calls.clear()
    # Fewer seeds and another method: the file keeps the rest.
    assert pc.compare(["bnn", "bc"], noted, seeds=2, path=file).seeds == (0, 1)
    assert calls == [("bnn", 0), ("bnn", 1)]
    assert pc.compare(["bc", "bnn++"], failing, seeds=3, path=file) == result


def test_a_saved_comparison_continues_too(tmp_path: Path) -> None:
    result = pc.compare(["bc", "bnn"], train, seeds=2)
    file = result.save(tmp_path / "saved.json")
    assert json.loads(file.read_text()) == json.loads(result.to_json()) == result.to_dict()
    again = pc.compare(["bc", "bnn"], lambda method, seed: 1 / 0, seeds=2, path=file)
    assert again == result


def constant(value: Any) -> Callable[[Any, int], Any]:
    return lambda method, seed: value


@pytest.mark.parametrize(
    ("methods", "function", "values", "words"),
    [
        ([], train, {"seeds": 2}, "methods is empty"),
        ("bc", train, {"seeds": 2}, "methods must be a list"),
        (3, train, {"seeds": 2}, "methods must be a list"),
        (["bc", "bc"], train, {"seeds": 2}, "two methods have the name 'bc'"),
        (["bc", pc.method("bc")], train, {"seeds": 2}, "two methods have the name 'bc'"),
        ([torch.tanh], train, {"seeds": 2}, "has to be a name or to have one"),
        ([""], train, {"seeds": 2}, "has to be a name or to have one"),
        (["bc"], None, {"seeds": 2}, "train must be a function"),
        (["bc"], train, {"seeds": []}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": 0}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": -1}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": [0.5]}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": "12"}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": None}, "seeds must be whole numbers"),
        (["bc"], train, {"seeds": [1, 2, 1]}, "seeds must differ"),
        (["bc"], train, {"seeds": 2, "baseline": "bd"}, "unknown baseline 'bd'"),
        (["bc"], constant(None), {"seeds": 2}, "train of 'bc' with seed 0 returned None; expected a finite"),
        (["bc"], constant(math.nan), {"seeds": 2}, "returned nan; expected a finite number"),
        (["bc"], constant(math.inf), {"seeds": 2}, "returned inf; expected a finite number"),
        (["bc"], constant("0.9"), {"seeds": 2}, "returned '0.9'; expected a finite number"),
        (["bc"], constant(torch.ones(2)), {"seeds": 2}, "expected a finite number"),
        (["bc"], constant({}), {"seeds": 2}, "returned no metrics"),
        (["bc"], constant({"loss": math.nan}), {"seeds": 2}, "returned nan as 'loss'"),
        (["bc"], lambda method, seed: {str(seed): 1.0}, {"seeds": 2}, "returned 1; expected what the runs"),
    ],
)
def test_bad_input_is_refused(methods: Any, function: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.compare(methods, function, **values)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"values": 3}', '{"values": {"bc": {"0": {"value": "x"}}}}', "{}"]
)
def test_another_file_is_refused_and_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(pc.ProxConnectError, match="is not a file of a comparison"):
        pc.compare(["bc"], train, seeds=2, path=file)
    assert file.read_text() == text


def test_a_train_that_ignores_its_seed_is_noticed() -> None:
    with pytest.warns(UserWarning, match="the same numbers for every seed"):
        pc.compare(["bc", "bnn"], lambda method, seed: SHIFT[method], seeds=3)
