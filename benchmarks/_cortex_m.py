"""Networks in C on an emulated Cortex-M7: compiled by arm-none-eabi-gcc, run by qemu-system-arm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import torch
from torch import Tensor

BOARD = Path(__file__).parent / "cortex_m"
TARGET = ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16", "-O2")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
_MACHINE = "-M mps2-an500 -nographic -monitor none -serial none -semihosting-config enable=on,target=native"
_MAIN = """
#include "{name}.h"
#include <stdio.h>
static const float samples[{samples}][{inputs}] = {{{values}}};
static float output[{outputs}];
int main(void) {{
    for (int i = 0; i < {samples}; ++i) {{
        {name}_run(samples[i], output);
        for (int j = 0; j < {outputs}; ++j) printf("%.9g\\n", (double)output[j]);
    }}
    return 0;
}}
"""


def missing() -> list[str]:
    """List the programs that are not installed."""
    needed = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
    return [name for name in needed if shutil.which(name) is None]


def answers(source: Path, samples: Tensor, outputs: int) -> Tensor:
    """Compile ``source`` and a main program beside it, and run it on the samples."""
    folder, name = source.parent, source.stem
    rows = ",\n".join(
        "{" + ",".join(f"{value:.9e}f" for value in row) + "}" for row in samples.flatten(1).tolist()
    )
    sizes = {"samples": len(samples), "inputs": samples[0].numel(), "outputs": outputs}
    (folder / "main.c").write_text(_MAIN.format(name=name, values=rows, **sizes))
    board = ["--specs=rdimon.specs", "-T", str(BOARD / "link.ld"), str(BOARD / "start.c")]
    files = ["main.c", source.name, "-o", "main.elf", "-lm"]
    subprocess.run(["arm-none-eabi-gcc", *TARGET, *STRICT, *board, *files], cwd=folder, check=True)
    done = subprocess.run(
        ["qemu-system-arm", *_MACHINE.split(), "-kernel", "main.elf"],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    return torch.tensor([float(line) for line in done.stdout.split()]).view(len(samples), outputs)


def flash_and_memory(source: Path) -> tuple[int, int]:
    """Compile ``source`` alone; return the bytes of code and constants, and of static memory."""
    folder = source.parent
    command = ["arm-none-eabi-gcc", *TARGET, *STRICT, "-c", source.name, "-o", "alone.o"]
    subprocess.run(command, cwd=folder, check=True)
    table = subprocess.run(
        ["arm-none-eabi-size", "alone.o"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    text, data, bss = map(int, table.splitlines()[1].split()[:3])
    return text + data, data + bss
