"""Repeatable random tensors and examples (``--hypothesis-profile=new`` draws new ones), and finished runs."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from proxconnect.cli.app import run

# No deadlines: how long an example takes is the business of benchmarks. The same examples show nothing new
# after the first runs, so a usual run has fewer.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("new", print_blob=True, deadline=None, max_examples=100)
settings.load_profile("same")


def pytest_collection_finish() -> None:
    """Hide what is loaded by now from the garbage collector, whose passes would visit it in every test."""
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give every test the same random tensors, independent of the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finish a short run in full precision, ``fp``, and a binary one, ``bw``; tests change copies alone.

    The processes that share the tests share the runs.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished_runs"
    short = "--model resnet8 --data digits --epochs 1 --batch-size 32"
    short += " --limit-train-batches 3 --limit-val-batches 1"
    with FileLock(f"{folder}.lock"):
        for setting in ("fp", "bw"):
            out = folder / setting
            if not (out / "model.safetensors").exists():
                assert run(["train", *short.split(), "--setting", setting, "--out", str(out)]) == 0
    return folder
