"""Products of ggml, the library of llama.cpp, with its types of few bits."""

from __future__ import annotations

import ctypes
from pathlib import Path

from _rounds import Run
from torch import Tensor

FLOAT32, TYPES = 0, {"ggml TQ2_0": 35, "ggml Q1_0": 41}


class Parameters(ctypes.Structure):
    """The structure ``ggml_init_params`` of ggml."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


_ADDRESS, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
SIGNATURES = {
    "ggml_version": (ctypes.c_char_p, ()),
    "ggml_blck_size": (_LONG, (_INT,)),
    "ggml_init": (_ADDRESS, (Parameters,)),
    "ggml_free": (None, (_ADDRESS,)),
    "ggml_new_tensor_2d": (_ADDRESS, (_ADDRESS, _INT, _LONG, _LONG)),
    "ggml_get_data": (_ADDRESS, (_ADDRESS,)),
    "ggml_quantize_chunk": (ctypes.c_size_t, (_INT, _ADDRESS, _ADDRESS, _LONG, _LONG, _LONG, _ADDRESS)),
    "ggml_mul_mat": (_ADDRESS, (_ADDRESS, _ADDRESS, _ADDRESS)),
    "ggml_new_graph": (_ADDRESS, (_ADDRESS,)),
    "ggml_build_forward_expand": (None, (_ADDRESS, _ADDRESS)),
    "ggml_backend_cpu_init": (_ADDRESS, ()),
    "ggml_backend_cpu_set_n_threads": (None, (_ADDRESS, _INT)),
    "ggml_backend_graph_compute": (_INT, (_ADDRESS, _ADDRESS)),
    "ggml_backend_free": (None, (_ADDRESS,)),
}


class GgmlPeer:
    """The products of the ``libggml-cpu.so`` in a folder."""

    def __init__(self, folder: str) -> None:
        self.library = ctypes.CDLL(str(Path(folder) / "libggml-cpu.so"))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self.versions: dict[str, str] = {"ggml": self.library.ggml_version().decode()}

    def __call__(self, x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
        """Return the products of the types whose blocks fit into a row; each quantizes ``x``."""
        return {
            name: Product(self.library, kind, x, weight, threads)
            for name, kind in TYPES.items()
            if weight.shape[1] % self.library.ggml_blck_size(kind) == 0
        }


class Product:
    """One product, ready to be repeated."""

    def __init__(self, ggml: ctypes.CDLL, kind: int, x: Tensor, weight: Tensor, threads: int) -> None:
        (m, k), n = x.shape, len(weight)
        self.ggml = ggml
        # Weights take fewer bytes than one each; the rest is for headers.
        self.context = ggml.ggml_init(Parameters(n * k + 4 * m * (k + n) + 2**20, None, False))
        quantized = ggml.ggml_new_tensor_2d(self.context, kind, k, n)
        ggml.ggml_quantize_chunk(kind, weight.data_ptr(), ggml.ggml_get_data(quantized), 0, n, k, None)
        inputs = ggml.ggml_new_tensor_2d(self.context, FLOAT32, k, m)
        ctypes.memmove(ggml.ggml_get_data(inputs), x.data_ptr(), x.nbytes)
        self.graph = ggml.ggml_new_graph(self.context)
        product = ggml.ggml_mul_mat(self.context, quantized, inputs)
        ggml.ggml_build_forward_expand(self.graph, product)
        self.backend = ggml.ggml_backend_cpu_init()
        ggml.ggml_backend_cpu_set_n_threads(self.backend, threads)

    def __call__(self) -> None:
        self.ggml.ggml_backend_graph_compute(self.backend, self.graph)

    def __del__(self) -> None:
        self.ggml.ggml_backend_free(self.backend)
        self.ggml.ggml_free(self.context)
