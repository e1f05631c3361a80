"""Products of bitnet.cpp's I2_S kernels, 2 bits a weight, compiled from its source."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

import torch
from _rounds import Run, built
from torch import Tensor

BITNET, BLOCK = "bitnet.cpp I2_S", 128
# Headers of llama.cpp that the source includes; the driver declares everything that it needs of them.
HEADERS = ("ggml-bitnet.h", "ggml-quants.h", "ggml-cpu-impl.h")


class BitnetPeer:
    """The products of the bitnet.cpp whose source is in a folder."""

    def __init__(self, folder: str) -> None:
        with tempfile.TemporaryDirectory() as empty:
            for name in HEADERS:
                (Path(empty) / name).touch()
            paths = [f"-I{path}" for path in (empty, Path(folder) / "include", folder)]
            self.library = built(Path(__file__).with_name("_bitnet_product.cpp"), "-fopenmp", *paths)
        commit = subprocess.check_output(["git", "-C", folder, "rev-parse", "--short", "HEAD"], text=True)
        self.versions = {"bitnet.cpp": commit.strip()}

    def __call__(self, x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
        """Return the product, which quantizes ``x`` to int8, if blocks fit into a row."""
        (m, k), n = x.shape, len(weight)
        if k % BLOCK != 0:
            return {}
        packed = torch.empty(n * k // 4 + 32, dtype=torch.uint8)
        self.library.bitnet_pack(*pointers(weight, packed), n, k)
        y, codes, inputs = torch.empty(m, n), torch.empty(m, k, dtype=torch.int8), torch.empty(m, 2)

        def product() -> Tensor:
            self.library.bitnet_product(*pointers(x, packed, y, codes, inputs), m, n, k, threads)
            return y

        return {BITNET: product}


def pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
