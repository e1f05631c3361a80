"""The base installation does all that needs torch alone, and names the package that anything else needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from looking import every, some

from proxconnect.base.optional import needed_for
from proxconnect.errors import MissingPackageError

INSTALL = re.compile(r'run: pip install "proxconnect\[(train|export|plots|dask|gguf)\]"')
# By package; all others come with "train".
EXTRAS = {"onnx": "export", "matplotlib": "plots", "distributed": "dask"}


def trial(folder: Path, *words: str) -> dict[str, Any]:
    script = Path(__file__).with_name("base_installation.py")
    command = [sys.executable, str(script), str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trial(tmp_path_factory.mktemp("base"))


def test_nothing_beyond_the_base_was_loaded(found: dict[str, Any]) -> None:
    assert found["loaded"] == []


def test_only_the_parts_on_other_loops_and_clusters_cannot_be_imported(found: dict[str, Any]) -> None:
    on_lightning = {
        f"proxconnect.trainer.{name}"
        for name in ("callbacks", "fit", "module", "progress", "reports", "sharding")
    } | {"proxconnect.integrations.lightning"}
    lacking = dict.fromkeys(on_lightning, "lightning")
    lacking["proxconnect.integrations.transformers"] = "transformers"
    assert found["lacking"] == {**lacking, "proxconnect.experiments._dask_worker": "distributed"}


@pytest.mark.full
def test_examples_run_or_name_a_missing_package(tmp_path: Path) -> None:
    examples = trial(tmp_path, "examples")["examples"]
    assert examples["failed"] == {}
    assert examples["ran"] > 100
    assert every(INSTALL.search(line) is not None for line in examples["missing"].values())
    parts = (".data", ".trainer", ".comparison", ".export", ".gguf")
    assert every(some(part in name for part in parts) for name in examples["missing"])


def test_commands_that_need_torch_alone_work(found: dict[str, Any]) -> None:
    assert [run for run in found["working"] if run["status"] != 0] == []


def test_other_commands_name_the_package_in_one_line(found: dict[str, Any]) -> None:
    for run in found["refused"]:
        assert run["status"] == 2, run
        error = run["error"]
        assert f"needs the package {run['package']}, which is not installed" in error, run
        assert error.endswith(f'run: pip install "proxconnect[{EXTRAS.get(run["package"], "train")}]"')
        assert error.startswith("error: ")
        assert "\n" not in error
    assert not found["left"]


def test_intervals_name_scipy(found: dict[str, Any]) -> None:
    assert found["seeds"].startswith("An interval of several seeds needs the package scipy")


def test_a_fault_of_ours_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"proxconnect\.nothing"), needed_for("Nothing"):
        import proxconnect.nothing  # noqa: F401


def test_a_package_that_raises_when_it_is_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outer_package.py").write_text("import inner_package")
    (tmp_path / "inner_package.py").write_text("raise RuntimeError('operator nobody::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    message = "Pictures needs the package outer_package, which .* inner_package says .*nobody::nms.* torch "
    with pytest.raises(MissingPackageError, match=message), needed_for("Pictures"):
        import outer_package  # noqa: F401


def test_other_errors_are_no_broken_package() -> None:
    with pytest.raises(ZeroDivisionError), needed_for("Nothing"):
        _ = 1 / 0
