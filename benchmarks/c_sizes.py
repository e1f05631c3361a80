"""Flash and memory of networks exported as C, compiled for a Cortex-M7, and their answers on an emulated one.

    python benchmarks/c_sizes.py --images 2

Needs arm-none-eabi-gcc with newlib, and qemu-system-arm (on Debian: gcc-arm-none-eabi
libnewlib-arm-none-eabi qemu-system-arm). Prints a table and writes docs/results/data/c_sizes.json, from which
docs/export.md has its table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from _cortex_m import TARGET, answers, flash_and_memory

import proxconnect as pc
from proxconnect.base.table import Table

OUT = Path(__file__).parents[1] / "docs" / "results" / "data" / "c_sizes.json"


def measured(name: str, images: int, folder: Path) -> dict[str, Any]:
    """Compile a network of the zoo, and compare its answers to random images."""
    net = pc.zoo.load(name)
    source = pc.export.c(net, folder / "net.c")
    flash, memory = flash_and_memory(source)
    x = torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = net(x)
    found = answers(source, x, expected.shape[1])
    return {
        "name": name,
        "packed_bytes": pc.zoo.card(name).bytes,
        "flash_bytes": flash,
        "memory_bytes": memory,
        "images": images,
        "same_classes": int((found.argmax(1) == expected.argmax(1)).sum()),
        "largest_difference": float((found - expected).abs().max()),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write the table of the page."""
    columns = "network", "packed file, bytes", "flash, bytes", "RAM, bytes", "largest difference of a logit"
    parts = ("packed", "flash", "memory")
    lines = [
        (row["name"], *(f"{row[f'{part}_bytes']:,}" for part in parts), f"{row['largest_difference']:.0e}")
        for row in rows
    ]
    return Table(columns, lines).markdown()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2, help="random images under the emulator")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    rows = []
    for name in pc.zoo.list():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(name, options.images, Path(folder)))
            print(rows[-1], flush=True)
    version = subprocess.run(["arm-none-eabi-gcc", "--version"], check=True, capture_output=True, text=True)
    print(table(rows))
    if not options.dry:
        result = {"compiler": version.stdout.splitlines()[0], "target": " ".join(TARGET), "rows": rows}
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
