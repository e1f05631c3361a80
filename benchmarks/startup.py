"""Measure what a program waits for before its first answer, import, loading, saving, and its memory.

    python benchmarks/startup.py

Every figure is that of one thread, and the median of five processes. The script writes
``docs/results/data/startup.json`` and the page ``docs/results/startup.md``.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _results import write_results
from _rounds import machine

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.models import create_model
from proxconnect.timing._memory import resident_bytes

PROCESSES = 5
SETTINGS = ("bw", "bwa")
# Each prints the seconds of processor time of what it names. FILE is a packed DeiT-Base, and OUT a new file.
PROGRAMS = {
    "import of proxconnect, after torch": """
import torch
START
import proxconnect as pc
pc.load, pc.binarize_
END""",
    "first pc.load of a process, DeiT-Base": """
import torch, proxconnect as pc
START
pc.load(FILE)
END""",
    "second pc.load, DeiT-Base": """
import torch, proxconnect as pc
pc.load(FILE)
START
pc.load(FILE)
END""",
    "first pc.save of a process, ResNet-50 with its graph": """
import torch, proxconnect as pc
from proxconnect.models import create_model
model = create_model("resnet50", classes=1000, image_size=224)
pc.harden_(pc.binarize_(model, pc.BinarizeConfig("bc")))
images = torch.zeros(1, 3, 224, 224)
START
pc.save(model, OUT, images)
END""",
    "second pc.save, ResNet-50 with its graph": """
import torch, proxconnect as pc
from proxconnect.models import create_model
model = create_model("resnet50", classes=1000, image_size=224)
pc.harden_(pc.binarize_(model, pc.BinarizeConfig("bc")))
images = torch.zeros(1, 3, 224, 224)
pc.save(model, OUT, images)
START
pc.save(model, OUT, images)
END""",
}


def seconds(program: str, file: Path) -> float:
    """Run a program in a process of its own, and return the processor time that it prints."""
    code = (
        program.replace("START", "import time; torch.set_num_threads(1); start = time.process_time()")
        .replace("END", "print(time.process_time() - start)")
        .replace("FILE", repr(str(file)))
        .replace("OUT", repr(str(file.with_name("saved.safetensors"))))
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return float(done.stdout)


def packed(setting: str, folder: str) -> Path:
    """Write the file of a packed DeiT-Base."""
    model = create_model("deit-base", classes=1000, image_size=224)
    pc.binarize_(model, pc.BinarizeConfig.from_setting(setting))
    return pc.save(model, Path(folder) / f"{setting}.safetensors", torch.zeros(1, 3, 224, 224))


def measure() -> dict[str, dict[str, list[float]]]:
    """Measure every program, in rounds, so that what else the machine does meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    memory: dict[str, list[float]] = {f"DeiT-Base, `{setting}`": [] for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        files = {setting: packed(setting, folder) for setting in SETTINGS}
        for _ in range(PROCESSES):
            for name, program in PROGRAMS.items():
                found[name].append(seconds(program, files["bw"]))
            for setting, file in files.items():
                taken = resident_bytes(file, [([1, 3, 224, 224], "float32")], "exact", None, 1)
                memory[f"DeiT-Base, `{setting}`"].append((taken or math.nan) / 2**20)
    return {"seconds": found, "memory": memory}


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    tables = {
        "seconds": Table(("what", "seconds", "least to most"), _rows(result["seconds"], 2)).markdown(),
        "memory": Table(("network", "MiB", "least to most"), _rows(result["memory"], 0)).markdown(),
    }
    lines = [
        "# Import, loading, saving, memory",
        "",
        f"{result['machine']}, PyTorch {result['torch']}. Seconds of processor time on one thread; each is "
        f"the median of {result['processes']} processes. The first `pc.save` of a process imports "
        "`torch.export`. "
        "`benchmarks/startup.py` makes this page.",
        "",
        tables["seconds"],
        "",
        "Resident memory of a process that has loaded the packed network and run it three times, beyond that "
        "of the same process with PyTorch alone. It has the code of the library and the values between "
        "layers too.",
        "",
        tables["memory"],
    ]
    return "\n".join(lines) + "\n"


def _rows(found: dict[str, list[float]], digits: int) -> list[list[str]]:
    def row(name: str, values: list[float]) -> list[str]:
        middle, least, most = statistics.median(values), min(values), max(values)
        return [name, f"{middle:.{digits}f}", f"{least:.{digits}f} to {most:.{digits}f}"]

    return [row(name, values) for name, values in found.items()]


def main() -> None:
    """Measure, and write the results."""
    result = {
        "machine": machine(),
        "torch": torch.__version__,
        "processes": PROCESSES,
        **measure(),
    }
    write_results("startup", result, page)


if __name__ == "__main__":
    main()
