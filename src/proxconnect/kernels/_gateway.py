"""Call compiled code: addresses, threads and the kernel set are settled here and nowhere else.

``native`` is the compiled module. A function that works in threads is called by :func:`run`; the few others,
which lay out or check what one thread does in no time, are called as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from proxconnect import _native as native
from proxconnect.base.eager import memory_address
from proxconnect.errors import ProxConnectError, unknown_name

__all__ = ["apply_environment", "native", "pointer", "run", "select"]

Result = TypeVar("Result")


def run(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of ``native`` with the kernel set in use and as many threads as torch has.

    Args:
        function: one that takes the number of threads as its last argument.
        arguments: the others. Each address among them comes from :func:`pointer`, for a tensor on the CPU:
            ``_checks`` and ``_images`` refuse those of a caller that are not.

    Raises:
        ProxConnectError: ``PROXCONNECT_KERNELS`` names a set that does not run here, or the sizes are too
            large.
    """
    apply_environment()
    return function(*arguments, torch.get_num_threads())


def pointer(tensor: Tensor) -> int:
    """Return the address of a tensor's first element: the one place where compiled code gets addresses from.

    Raises:
        ProxConnectError: the tensor has no memory, as under ``torch.device("meta")`` and in FakeTensorMode.
    """
    address = memory_address(tensor)
    if not address and tensor.numel():
        raise ProxConnectError(
            f"a {type(tensor).__name__} of shape {tuple(tensor.shape)} on {tensor.device} has no memory that "
            "compiled code could read; leave FakeTensorMode or the function transform, or load the network "
            "with kernels='reference'"
        )
    return address


@cache
def apply_environment() -> None:
    """Follow ``PROXCONNECT_KERNELS`` at the first use, so that a wrong value is an error of that use."""
    name = os.environ.get("PROXCONNECT_KERNELS")
    if name:
        try:
            select(name)
        except ProxConnectError as error:
            raise ProxConnectError(f"PROXCONNECT_KERNELS: {error}") from None


def select(name: str) -> None:
    """Use the named kernel set from now on.

    Raises:
        ProxConnectError: no set of that name runs on this processor.
    """
    if not native.use_kernels(name):
        raise ProxConnectError(unknown_name("kernel set", name, native.kernel_sets()))
