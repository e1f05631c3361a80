"""``proxconnect doctor``: what this machine has, whether its kernels are right, and what commands lack."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
import typer

from proxconnect.base.optional import distribution
from proxconnect.base.table import Table
from proxconnect.base.version import __version__
from proxconnect.cli._self_test import self_test
from proxconnect.engine import active_kernels, cpu_features, kernel_sets
from proxconnect.trainer.origin import processor

_IMAGES = ("PIL",)
_NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "methods, check, pack, bench, export": ("", ()),
    "export --to onnx,qonnx": ("export", ("onnx", "onnxscript")),
    "predict": ("train", _IMAGES),
    "eval": ("train", ("PIL", "pyarrow", "sklearn")),
    "train, grid": (
        "train",
        ("lightning", "tensorboard", "PIL", "pyarrow", "sklearn", "scipy", "matplotlib"),
    ),
    "train --model timm:NAME": ("timm", ("timm",)),
    "train --data hf:NAME": ("datasets", ("datasets",)),
    "check --plot, bench --plot": ("plots", ("matplotlib",)),
    "report": ("train", ("matplotlib", "jinja2", "PIL")),
    "grid --launcher dask": ("dask", ("distributed", "dask_jobqueue")),
    "generate, bench --tokens": ("transformers", ("transformers",)),
    "export --to gguf": ("gguf", ("gguf", "transformers")),
    "bench --vs onnxruntime,openvino": ("bench", ("onnx", "onnxscript", "onnxruntime", "openvino")),
}


@dataclass(frozen=True)
class Ready:
    """A command, the packages that it lacks, and the extra that brings them."""

    command: str
    missing: tuple[str, ...]
    extra: str

    def __str__(self) -> str:
        if not self.missing:
            return "ready"
        return f'lacks {", ".join(self.missing)}; run: pip install "proxconnect[{self.extra}]"'


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Examine this machine: versions, processor, kernels and their self-test, packages that commands lack.

    Exit status 1: a kernel gives wrong answers here.
    """
    start = time.perf_counter()
    wrong = self_test()
    seconds = time.perf_counter() - start
    commands = [_ready(command, *needed) for command, needed in _NEEDS.items()]
    if as_json:
        print(json.dumps({**_facts(), "self_test": wrong, "commands": [asdict(each) for each in commands]}))
    else:
        print(Table(("this machine", "found"), _rows()).text(None))
        for name, products in wrong.items():
            print(f"self-test of {name}: {'wrong: ' + '; '.join(products) if products else 'right'}")
        print(f"self-test took {seconds:.1f} s\n")
        print(Table(("command", "state"), ((each.command, str(each)) for each in commands)).text(None))
    if any(wrong.values()):
        raise typer.Exit(1)


def _facts() -> dict[str, object]:
    packages = ("torch", "numpy", "safetensors", "lightning", "onnxruntime")
    return {
        "proxconnect": __version__,
        "python": platform.python_version(),
        **{name: found for name in packages if (found := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_features": [name for name, present in cpu_features().items() if present],
        "kernel_sets": kernel_sets(),
        "active_kernels": active_kernels(),
    }


def _rows() -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in _facts().items()
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ready(command: str, extra: str, modules: tuple[str, ...]) -> Ready:
    absent = (module for module in modules if importlib.util.find_spec(module) is None)
    return Ready(command, tuple(distribution(module) for module in absent), extra)
