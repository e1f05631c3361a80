"""Memory for weights that stay, and memory that goes back to the system."""

from __future__ import annotations

import ctypes
import math
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from proxconnect.base.eager import watched

_HUGE_PAGE = 2**21
_REGION = 16 * _HUGE_PAGE  # of address space; what no weight takes never becomes memory
_LEAST = 2**17  # bytes of a tensor for which a region is worth while
_ALIGNMENT = 64


class _Region(mmap.mmap):
    """Address space for weights that lie one after the other; it lasts as long as the last of them."""

    used = 0

    def room_for(self, size: int) -> bool:
        return self.used + size <= len(self)


_filling = threading.Lock()
_last: weakref.ref[_Region] | None = None  # the region that is being filled


def weight_memory(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a dense tensor on the CPU, of any content, for weights that stay and are read again and again.

    Large ones lie side by side on huge pages, where Linux has them. A product with one row reads its weight
    once. From pages of 4 KiB a processor fetches it with many interruptions, as it does not look ahead beyond
    a page.

    >>> weight_memory((2, 3), torch.int32).shape
    torch.Size([2, 3])
    """
    size = math.prod(shape) * dtype.itemsize
    region = None
    if size >= _LEAST and hasattr(mmap, "MADV_HUGEPAGE") and not watched():
        region = _region_with_room(size)
    if region is None:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu")
    memory, start = region
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape), offset=start).view(tuple(shape))


def _region_with_room(size: int) -> tuple[_Region, int] | None:
    """Take ``size`` bytes of a region: the region, and where they begin; None where the system gives none."""
    global _last
    with _filling:
        region = None if _last is None else _last()
        if region is None or not region.room_for(size):
            whole = max(_REGION, size + -size % _HUGE_PAGE)
            try:
                region = _Region(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                region.madvise(mmap.MADV_HUGEPAGE)
            except OSError:  # no address space, or a kernel without huge pages
                return None
            _last = weakref.ref(region)
        start = region.used
        region.used += size + -size % _ALIGNMENT
        return region, start


def return_free_memory() -> None:
    """Have the C library return what is free between tensors that stay; another than glibc decides itself.

    A model whose weights are laid out anew while they load leaves as much free memory as it takes, in pieces
    that glibc would keep.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
