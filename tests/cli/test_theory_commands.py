"""``proxconnect methods`` and ``proxconnect check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import proxconnect as pc
from proxconnect.cli.app import run


def test_methods_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == pc.methods()
    assert rows["bnn++"]["forward"] == "sign-swish"
    assert rows["bnn+"]["verdict"] == "exact on {0} only"
    assert "1812.11800" in rows["bnn+"]["source"]
    assert rows["bc"]["backward"] == "1"
    assert run(["methods"]) == 0
    table = capsys.readouterr().out.splitlines()
    for name, row in rows.items():  # one line for each, nothing wrapped or cut
        assert any(
            line.startswith(f"{name} ") and all(text in line for text in row.values()) for line in table
        )


@pytest.mark.parametrize(("name", "status"), [("bc", 0), ("hardtanh", 0), ("bnn+", 1), ("bnn++", 1)])
def test_check_answers_with_its_status(name: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", name, "--mu", "5"]) == status
    text = capsys.readouterr().out
    assert name in text
    assert "mu = 5" in text
    assert run(["check", name, "--mu", "5", "--json"]) == status
    data = json.loads(capsys.readouterr().out)
    assert data["status"] == ("not exact" if status else "exact")
    assert data["domain"] == {"low": "-inf", "high": "inf", "low_closed": False, "high_closed": False}


def test_check_of_a_domain() -> None:
    assert run(["check", "bnn++", "--domain", "-2.39", "2.39"]) == 0
    assert run(["check", "bnn++", "--domain", "-2.41", "2.39"]) == 1


def test_check_takes_a_pair_from_a_users_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drafts.py").write_text(
        "import torch\n"
        "import proxconnect as pc\n"
        "soft = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w), name='soft')\n"
        "hopeful = pc.ForwardBackward(lambda w, mu: torch.where(w >= 0, 1.0, -1.0),\n"
        "                             lambda w, mu: torch.exp(-(mu * w) ** 2), name='hopeful')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run(["check", "--pair", "drafts:soft"]) == 0
    assert "numeric" in capsys.readouterr().out
    assert run(["check", "--pair", "drafts:hopeful", "--mu", "2", "--plot", "hopeful.svg"]) == 1
    assert "fails" in capsys.readouterr().out
    assert run(["check", "--pair", "drafts:soft", "--mu", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "soft"
    assert (tmp_path / "hopeful.svg").stat().st_size > 10_000
    assert run(["check", "--pair", "drafts:hopefull"]) == 2  # codespell:ignore
    assert "defines no 'hopefull'; its pairs: soft, hopeful" in capsys.readouterr().err
    assert run(["check", "--pair", "drafts.py:soft"]) == 2
    assert "without its ending, drafts:soft" in capsys.readouterr().err


def test_a_file_that_cannot_be_imported_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, line, reason in (
        ("broken", "1 / 0", "ZeroDivisionError: division by zero"),
        ("leaving", "raise SystemExit(0)", "SystemExit: 0"),
    ):
        (tmp_path / f"{name}.py").write_text(line + "\n")
        assert run(["check", "--pair", f"{name}:pair"]) == 2
        error = capsys.readouterr().err
        assert f"cannot import '{name}'" in error
        assert reason in error


def test_check_draws(tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    assert run(["check", "bnn+", "--mu", "5", "--plot", str(figure)]) == 1
    with Image.open(figure) as image:
        width, height = image.size
        assert width > 600
        assert len(image.convert("L").getcolors(width * height) or []) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either the name of a method or --pair"),
        (["bc", "--pair", "x:y"], "give either the name of a method or --pair"),
        (["bnn+++"], "did you mean 'bnn++'"),
        (["bc", "--mu", "0"], "mu must be a positive"),
        (["bc", "--mu", "nan"], "mu must be a positive"),
        (["bc", "--domain", "1", "-1"], "domain"),
        (["bc", "--domain", "1", "1"], "domain"),
        (["--pair", "nonsense"], "module:object"),
        (["--pair", "absent_module:pair"], "cannot import 'absent_module'"),
        (["bc", "--plot", "figure.xyz"], "unknown ending"),
    ],
)
def test_refusals(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not list(tmp_path.iterdir())
