"""Return memory that is free to the system."""

from __future__ import annotations

import ctypes


def return_free_memory() -> None:
    """Have the C library return what is free between tensors that stay; another than glibc decides itself.

    A model whose weights are laid out anew while they load leaves as much free memory as it takes, in pieces
    that glibc would keep.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
