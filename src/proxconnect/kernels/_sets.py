"""Tell which kernel sets there are and which one is in use, in training and in the engine alike."""

from __future__ import annotations

from proxconnect.kernels._gateway import apply_environment, native, select


def kernel_sets() -> list[str]:
    """Return the names of the kernel sets that this processor runs, fastest first.

    >>> "portable" in kernel_sets()
    True
    """
    return native.kernel_sets()


def active_kernels() -> str:
    """Return the name of the kernel set in use.

    It is the fastest set, or the one that ``PROXCONNECT_KERNELS`` or `use_kernels` named.

    Raises:
        ProxConnectError: ``PROXCONNECT_KERNELS`` names a set that does not run here.

    >>> active_kernels() in kernel_sets()
    True
    """
    apply_environment()
    return native.active_kernels()


def use_kernels(name: str) -> None:
    """Use the named kernel set from now on, in the whole process; every set gives the same results.

    Raises:
        ProxConnectError: no set of that name runs on this processor.

    >>> use_kernels(kernel_sets()[0])
    >>> active_kernels() == kernel_sets()[0]
    True
    """
    apply_environment()
    select(name)


def cpu_features() -> dict[str, bool]:
    """Tell for each instruction set that kernels may use whether this processor has it; empty where unknown.

    >>> all(isinstance(present, bool) for present in cpu_features().values())
    True
    """
    return native.cpu_features()
