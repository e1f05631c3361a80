"""Which kernel sets there are, and which one is in use: in training and in the engine alike."""

from __future__ import annotations

import os
from functools import cache

from proxconnect import _native
from proxconnect.errors import ProxConnectError, unknown_name


def kernel_sets() -> list[str]:
    """Names of the kernel sets that this processor runs, fastest first.

    >>> "portable" in kernel_sets()
    True
    """
    return _native.kernel_sets()


def active_kernels() -> str:
    """Name of the kernel set in use: the fastest, or what ``PROXCONNECT_KERNELS`` or `use_kernels` named.

    Raises:
        ProxConnectError: ``PROXCONNECT_KERNELS`` names a set that does not run here.

    >>> active_kernels() in kernel_sets()
    True
    """
    apply_environment()
    return _native.active_kernels()


def use_kernels(name: str) -> None:
    """Use the named kernel set from now on, in the whole process; every set gives the same results.

    Raises:
        ProxConnectError: no set of that name runs on this processor.

    >>> use_kernels(kernel_sets()[0])
    >>> active_kernels() == kernel_sets()[0]
    True
    """
    apply_environment()
    _select(name)


def cpu_features() -> dict[str, bool]:
    """Instruction sets that kernels may use and whether this processor has them; empty where unknown.

    >>> all(isinstance(present, bool) for present in cpu_features().values())
    True
    """
    return _native.cpu_features()


@cache
def apply_environment() -> None:
    """Follow ``PROXCONNECT_KERNELS`` at the first use, so that a wrong value is an error of that use."""
    name = os.environ.get("PROXCONNECT_KERNELS")
    if name:
        try:
            _select(name)
        except ProxConnectError as error:
            raise ProxConnectError(f"PROXCONNECT_KERNELS: {error}") from None


def _select(name: str) -> None:
    if not _native.use_kernels(name):
        raise ProxConnectError(unknown_name("kernel set", name, kernel_sets()))
