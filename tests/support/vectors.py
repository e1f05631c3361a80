"""The test vectors of the packed file, see ``tools/format_vectors.py``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from second_reader import CODES, array

VECTORS = Path(__file__).parents[1] / "format" / "vectors"
GOOD = sorted(
    path.stem for path in (VECTORS / "good").glob("*.safetensors") if not path.stem.endswith(".expected")
)
BAD = sorted(path.stem for path in (VECTORS / "bad").glob("*.safetensors"))


def good(name: str) -> Path:
    return VECTORS / "good" / f"{name}.safetensors"


def bad(name: str) -> Path:
    return VECTORS / "bad" / f"{name}.safetensors"


def expected(name: str, kind: str, folder: Path = VECTORS) -> dict[str, np.ndarray]:
    """Weights, inputs or outputs of a good file, by name."""
    return {
        key.removeprefix(f"{kind}/"): value
        for key, value in plain_safetensors(folder / "good" / f"{name}.expected.safetensors").items()
        if key.startswith(f"{kind}/")
    }


def plain_safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, row in json.loads(data[8:start]).items():
        begin, end = row["data_offsets"]
        found[name] = array(CODES[row["dtype"]], row["shape"], data[start + begin : start + end])
    return found


def same_bits(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Tell whether two arrays have one shape and the same bits; a bool may be a byte."""
    return found.shape == wanted.shape and found.astype(wanted.dtype).tobytes() == wanted.tobytes()


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Tell whether two arrays agree within 1e-5 of the largest number."""
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max())
