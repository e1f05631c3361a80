"""A trial of the base installation: ``python base_installation.py FOLDER [examples]``.

Prints JSON; with ``examples``, those of all docstrings run too. It takes a process of its own: every package
that the base installation does not bring is out of reach, whatever is installed.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.metadata
import io
import json
import pkgutil
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

ROOT = Path(__file__).parents[2]


class Installed(PathFinder):
    """Finds what is on the path, but for the top-level modules in ``hidden``."""

    hidden: ClassVar[set[str]] = set()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        hidden = fullname.partition(".")[0] in cls.hidden
        return None if hidden else super().find_spec(fullname, path, target)


def beyond_the_base() -> set[str]:
    """Top-level modules of installed distributions that no dependency of the base leads to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, base = [*project["dependencies"]], {"proxconnect"}
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop().strip(), maxsplit=1)[0]
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name not in base:
            base.add(name)
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                required = importlib.metadata.requires(name) or []
                waiting += [each for each in required if "extra ==" not in each]
    found = importlib.metadata.packages_distributions()
    return {
        module
        for module, owners in found.items()
        if not base & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
        and module not in sys.stdlib_module_names
    }


def command(*arguments: str) -> dict[str, Any]:
    from proxconnect.cli.app import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run([*arguments])
    return {"arguments": arguments, "status": status, "error": err.getvalue().strip()}


def outcome(function: Callable[[], object]) -> str:
    """Return the one line of the error that a call raises on purpose; empty if it raises none."""
    from proxconnect import ProxConnectError

    try:
        function()
    except ProxConnectError as error:
        return str(error)
    return ""


def modules() -> tuple[list[str], dict[str, str]]:
    """Modules of the package that can be imported, and what the others lack."""
    import proxconnect
    from proxconnect.errors import MissingPackageError

    fine, lacking = [], {}
    walk = pkgutil.walk_packages(proxconnect.__path__, "proxconnect.", onerror=lambda name: None)
    for found in walk:
        if found.name == "proxconnect.__main__":
            continue
        try:
            importlib.import_module(found.name)
            fine.append(found.name)
        except ModuleNotFoundError as error:
            lacking[found.name] = str(error.name)
        except MissingPackageError as error:
            lacking[found.name] = str(error.__cause__.name)  # type: ignore[union-attr]
    return fine, lacking


def examples(names: list[str]) -> dict[str, Any]:
    """Run the examples of all docstrings; return how many run, how many lack a package, and failures."""
    from proxconnect.errors import MissingPackageError

    ran, missing, failed = 0, {}, {}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for name in ["proxconnect", *names]:
        for each in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name):
            if not each.examples:
                continue
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    doctest.DebugRunner(optionflags=options).run(each)
                ran += 1
            except doctest.UnexpectedException as error:
                reason = error.exc_info[1]
                if isinstance(reason, MissingPackageError):
                    missing[each.name] = str(reason)
                elif not isinstance(reason, ModuleNotFoundError):  # that an example itself imports
                    failed[each.name] = str(reason)
            except doctest.DocTestFailure as error:
                failed[each.name] = error.got
    return {"ran": ran, "missing": missing, "failed": failed}


def checkpoint(folder: Path) -> None:
    """Make the folder of a run without a training step, as ``proxconnect train`` leaves it."""
    import torch

    from proxconnect.trainer.checkpoint import DataFacts, build_model, facts_to_save
    from proxconnect.trainer.config import TrainConfig

    config = TrainConfig(data="digits", model="resnet20", setting="bw").resolved()
    prepared = {"mode": "L", "size": [8, 8], "mean": [0.3], "std": [0.4], "resize": "bilinear"}
    facts = DataFacts(tuple("0123456789"), prepared, "0")
    weights = build_model(config, facts).state_dict()
    named = {f"model.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": named, "epoch": 0, **facts_to_save(config, facts, {})}, folder / "checkpoint")


def grid_of_two_seeds() -> None:
    from proxconnect.experiments.tables import pair_table

    cells = {
        f"{method}{seed}": {
            "model": "m", "setting": "bw", "seed": seed, "varied": {}, "method": method,
            "record": {"packed": 0.5 + 0.1 * seed, "images": 10},
        }
        for method in ("a", "b") for seed in (0, 1)
    }  # fmt: skip
    pair_table({"cells": cells, "tables": [{"title": "t", "cells": list(cells)}]}, [("a", "b")])


def report(folder: Path, with_examples: bool) -> dict[str, Any]:
    Installed.hidden = beyond_the_base()
    sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
    fine, lacking = modules()
    checkpoint(folder)
    image = folder / "train" / "cat" / "image.png"
    image.parent.mkdir(parents=True)
    image.touch()
    (folder / "parquet").mkdir()
    (folder / "parquet" / "test.parquet").touch()
    network = str(folder / "packed.safetensors")
    recipe = str(ROOT / "recipes" / "reduced.toml")
    working = [
        ("--help",),
        *(
            (name, "--help")
            for name in ("methods", "check", "train", "grid", "report", "pack", "export", "eval", "predict")
        ),
        ("methods", "--json"),
        ("--version",),
        ("doctor",),
        ("check", "ede+", "--json"),
        ("pack", str(folder), "--out", network),
        ("export", network, "--to", "c", "--out", str(folder / "network.c")),
        ("grid", recipe, "--list", "--results", str(folder)),
    ]
    refused: dict[tuple[str, ...], str] = {
        ("check", "bnn++", "--plot", str(folder / "plot.png")): "matplotlib",
        ("export", network, "--to", "onnx", "--out", str(folder / "network.onnx")): "onnx",
        ("predict", network, str(image)): "pillow",
        (
            "grid",
            recipe,
            "--data",
            "digits",
            "--launcher",
            "dask",
            "--results",
            str(folder),
            "--runs",
            str(folder / "runs"),
        ): "distributed",
        ("eval", network, "--data", "digits"): "scikit-learn",
        ("eval", network, "--data", "cifar10"): "pyarrow",
        ("eval", network, "--data", str(folder / "parquet")): "pyarrow",
        ("eval", network, "--data", str(folder), "--split", "train"): "pillow",
        ("train", "--data", "digits", "--model", "resnet20", "--out", str(folder / "run")): "scikit-learn",
        ("train", "--data", str(folder), "--model", "resnet20", "--out", str(folder / "run")): "pillow",
    }
    found = {
        "lacking": lacking,
        "examples": examples(fine) if with_examples else {},
        "working": [command(*each) for each in working],
        "refused": [{**command(*each), "package": package} for each, package in refused.items()],
        "seeds": outcome(grid_of_two_seeds),
        "loaded": sorted({name.partition(".")[0] for name in sys.modules} & Installed.hidden),
    }
    Installed.hidden = {"lightning"}
    run = command("train", "--data", "digits", "--model", "resnet20", "--out", str(folder / "run"))
    found["refused"].append({**run, "package": "lightning"})
    found["left"] = (folder / "run").exists()
    return found


if __name__ == "__main__":
    print(json.dumps(report(Path(sys.argv[1]), with_examples="examples" in sys.argv[2:])))
