"""The cost of ``import proxconnect``, and the names that it brings."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from looking import every

import proxconnect as pc

ROOT = Path(__file__).parents[2]


def test_import_is_light() -> None:
    code = "import sys, proxconnect; print(*(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "lightning",
        "pytorch_lightning",
        "matplotlib",
        "sklearn",
        "pyarrow",
        "PIL",
        "tensorboard",
        "typer",
        "rich",
        "onnx",
    }
    assert not heavy & set(loaded)
    assert "proxconnect" in loaded


def test_a_name_is_imported_at_its_first_use() -> None:
    code = (
        "import sys, proxconnect as pc; before = set(sys.modules); pc.load; pc.theory.check; print(*before)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = {name for name in loaded.split() if name.startswith("proxconnect.")}
    assert ours <= {f"proxconnect.{name}" for name in ("base", "base.version", "errors")}
    assert set(pc.__all__) <= set(dir(pc))
    assert not hasattr(pc, "no_such_name")


def test_everything_public_exists() -> None:
    assert every(hasattr(pc, name) for name in pc.__all__)
    assert pc.__version__.count(".") == 2


def test_errors_are_value_errors() -> None:
    assert issubclass(pc.ProxConnectError, ValueError)


def test_the_extra_all_brings_every_extra_of_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (line,) = extras["all"]
    named = re.fullmatch(r"proxconnect\[(.*)\]", line)
    assert named is not None
    # The torchvision that timm needs breaks other packages where torch is of another build.
    assert set(named[1].split(",")) == extras.keys() - {"all", "dev", "timm"}
