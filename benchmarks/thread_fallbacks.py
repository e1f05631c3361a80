"""Times kernels on the kinds of threads that could do their work where there is no OpenMP.

    python benchmarks/thread_fallbacks.py [THREADS [ROUNDS]]

``src/proxconnect/csrc/README.md`` has the table that this prints, and what follows from it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parent / "src" / "proxconnect" / "csrc"
COLUMNS = ["kernel", "rows", "one thread, us", "thread per call", "sleeping pool", "spinning pool", "OpenMP"]


def build(folder: Path) -> Path:
    """Link the program with the kernels of this checkout."""
    tests = HERE.parent / "tests" / "csrc"
    configure = [
        "cmake",
        "-S",
        CSRC,
        "-B",
        folder,
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DPROXCONNECT_TESTS={tests}",
    ]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        ["cmake", "--build", folder, "--target", "kernels", "--parallel"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    program = folder / "thread_fallbacks"
    source = HERE / "thread_fallbacks.cpp"
    flags = ["-O2", "-std=c++20", "-fopenmp", "-I", CSRC]
    subprocess.run(["c++", *flags, source, folder / "libkernels.a", "-ldl", "-o", program], check=True)
    return program


def main() -> None:
    """Print one row for each kernel: 1024 inputs, 1024 outputs, some rows."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("| " + " | ".join("---" for _ in COLUMNS) + " |")
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        lines = subprocess.run([program, *sys.argv[1:]], check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        print("| " + " | ".join(line.replace(",", " ", 1).split()) + " |")


if __name__ == "__main__":
    main()
