"""The memory of a loaded network, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from proxconnect.errors import ProxConnectError

_MEASURE = """
import json, sys
import torch
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))
path, shapes, precision, activations, threads = json.loads(sys.argv[1])
torch.set_num_threads(threads)
inputs = [torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in shapes]
images = torch.zeros(1, 3, 32, 32)
torch.nn.functional.conv2d(images, images) @ torch.zeros(1, 8)  # PyTorch's own code comes with its first use
before = resident()
import proxconnect
network = proxconnect.load(path, precision=precision, activations=activations)
with torch.inference_mode():
    for _ in range(3):
        network(*inputs)
print(resident() - before)
"""


def resident_bytes(
    path: Path, shapes: list[tuple[list[int], str]], precision: str, activations: str | None, threads: int
) -> int | None:
    """Measure the memory that a process needs to load and run the network, beyond PyTorch; None off Linux."""
    if not Path("/proc/self/status").exists():
        return None
    arguments = json.dumps([str(path.absolute()), shapes, precision, activations, threads])
    done = subprocess.run([sys.executable, "-c", _MEASURE, arguments], capture_output=True, text=True)
    if done.returncode:
        raise ProxConnectError(f"measuring the memory of {path} failed: {done.stderr.strip()[-300:]}")
    return int(done.stdout)
