"""Measure what a program waits for before its first answer: import, loading, saving.

    python benchmarks/startup.py

Every figure is processor time on one thread, and the median of five processes. The script writes
``docs/results/data/startup.json`` and the page ``docs/results/startup.md``.
"""

from __future__ import annotations

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

PROCESSES = 5
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


def measure() -> dict[str, list[float]]:
    """Measure every program, in rounds, so that what else the machine does meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deit.safetensors"
        model = create_model("deit-base", classes=1000, image_size=224)
        pc.binarize_(model, pc.BinarizeConfig("bc"))
        pc.save(model, file, torch.zeros(1, 3, 224, 224))
        for _ in range(PROCESSES):
            for name, program in PROGRAMS.items():
                found[name].append(seconds(program, file))
    return found


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    rows = (
        [name, f"{statistics.median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}"]
        for name, times in result["seconds"].items()
    )
    lines = [
        "# Import, loading, saving",
        "",
        f"{result['machine']}, PyTorch {result['torch']}. Seconds of processor time on one thread; each is "
        f"the median of {result['processes']} processes. The first `pc.save` of a process imports "
        "`torch.export`. "
        "`benchmarks/startup.py` makes this page.",
        "",
        Table(("what", "seconds", "least to most"), rows).markdown(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    result = {
        "machine": machine(),
        "torch": torch.__version__,
        "processes": PROCESSES,
        "seconds": measure(),
    }
    write_results("startup", result, page)


if __name__ == "__main__":
    main()
