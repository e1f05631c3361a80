"""Write the test vectors of the packed file, ``tests/format/vectors``, on which other readers can be tried.

    python tools/format_vectors.py [--out FOLDER]

``good`` has small files that a reader must take. Beside each is ``<name>.expected.safetensors``, a plain
safetensors file with every decoded weight as ``weights/<name>``, and, where the file has a network, with an
example of each input as ``inputs/<name>`` and the tensors of its output in order as ``outputs/<place>``.
``bad`` has files that a reader must refuse; the name of a file says which rule it breaks. Those of networks
are written by the library. All others are written here, byte by byte, and break exactly one rule.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from vectors.bad_networks import NETWORKS as BAD_NETWORKS
from vectors.bad_weights import OF_VERSION_1
from vectors.bad_weights import WEIGHTS as BAD_WEIGHTS
from vectors.file import File, Network, changed
from vectors.good_networks import NETWORKS, written
from vectors.good_weights import decoded_dense, decoded_kinds, linear

VECTORS = Path(__file__).parents[1] / "tests" / "format" / "vectors"


def expected(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.array(value, order="C") for name, value in sorted(arrays.items())})


def vectors() -> dict[str, bytes]:
    """Make all files by name."""
    good = {"linear": linear(2), "linear-version-1": linear(1)}
    weights = {"weights-binary": decoded_kinds()}
    for rest in ("float32", "float16", "int8"):
        weights[f"weights-dense-{rest}"] = decoded_dense(2, rest)
    weights["weights-dense-int8-version-1"] = decoded_dense(1, "int8")
    for name, (data, found) in weights.items():
        good[name] = data, {f"weights/{weight}": value for weight, value in found.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in NETWORKS.items():
            good[name] = written(name, build, Path(folder))
    made = {f"bad/{name}.safetensors": changed(File(), change) for name, change in BAD_WEIGHTS.items()}
    for name, change in OF_VERSION_1.items():
        made[f"bad/{name}.safetensors"] = changed(File(1), change)
    for name, change in BAD_NETWORKS.items():
        made[f"bad/{name}.safetensors"] = changed(Network(), change)
    for name, (data, found) in good.items():
        made[f"good/{name}.safetensors"] = data
        made[f"good/{name}.expected.safetensors"] = expected(found)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=VECTORS)
    folder = parser.parse_args().out
    made = vectors()
    for path in folder.glob("*/*.safetensors"):
        if str(path.relative_to(folder)) not in made:
            path.unlink()
    for name, data in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes, in {folder}")


if __name__ == "__main__":
    main()
