"""The cost of ``import proxconnect``, and the names that it brings."""

from __future__ import annotations

import subprocess
import sys

from looking import every

import proxconnect as pc


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
