"""The compiled kernels, behind checked arguments.

Bits are laid out as ``proxconnect.format.bits`` says. Every pointer that reaches the compiled module goes
through `_address`, which is the one place where tensors are validated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format.bits import packed_width


def pack_signs(x: Tensor) -> Tensor:
    """Pack the signs of a matrix; both zeros count as +1.

    Args:
        x: float32 of shape (rows, columns), contiguous, on the CPU.

    Returns:
        uint8 of shape (rows, packed_width(columns)).

    Raises:
        ProxConnectError: ``x`` is not such a tensor, or holds a NaN.

    >>> pack_signs(torch.tensor([[1.0, -1.0, -0.0, -2.0]]))
    tensor([[5]], dtype=torch.uint8)
    """
    address = _address(x, "x", torch.float32, dimensions=2)
    rows, columns = x.shape
    bits = torch.empty(rows, packed_width(columns), dtype=torch.uint8)
    _apply_environment()
    nan = _native.pack_signs(address, rows, columns, bits.data_ptr())
    if nan >= 0:
        row, column = divmod(nan, columns)
        raise ProxConnectError(
            f"cannot pack: NaN at row {row}, element {column}; a NaN has no sign, find where it arises"
        )
    return bits


def unpack_weights(bits: Tensor, scale: Tensor, shape: Sequence[int]) -> Tensor:
    """Weights from their bits: ``+scale`` where the bit is set, ``-scale`` elsewhere.

    Args:
        bits: uint8 of shape (rows, packed_width(elements in a row)), contiguous, on the CPU.
        scale: floating point on the CPU, one element for all rows or one for each row, of any shape.
        shape: the shape of the weights, output channels (rows) first.

    Returns:
        float32 of ``shape``.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> unpack_weights(torch.tensor([[5]], dtype=torch.uint8), torch.tensor(0.5), (1, 4))
    tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """
    address = _address(bits, "bits", torch.uint8, dimensions=2)
    if len(shape) == 0 or min(shape) < 0:
        raise ProxConnectError(f"{tuple(shape)} is not the shape of a weight; expected output channels first")
    rows, columns = shape[0], math.prod(shape[1:])
    if tuple(bits.shape) != (rows, packed_width(columns)):
        raise ProxConnectError(
            f"bits of shape {tuple(bits.shape)} do not hold weights of shape {tuple(shape)}; "
            f"expected {(rows, packed_width(columns))}"
        )
    if scale.numel() not in (1, rows):
        raise ProxConnectError(f"scale has {scale.numel()} elements; expected 1, or {rows} for {rows} rows")
    scales = scale.detach().reshape(-1).expand(rows).to(torch.float32).contiguous()
    weights = torch.empty(tuple(shape), dtype=torch.float32)
    _apply_environment()
    _native.unpack_weights(
        address, _address(scales, "scale", torch.float32, dimensions=1), rows, columns, weights.data_ptr()
    )
    return weights


def w1a1_matmul(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Product of two matrices of signs, from their bits.

    ``out[i, j] = sum_k a[i, k] b[j, k] = k - 2 popcount(a[i] xor b[j])``, without rounding.

    Args:
        a: uint8 of shape (m, packed_width(k)) on the CPU, each row contiguous. Padding bits must be zero.
        b: uint8 of shape (n, packed_width(k)), likewise.
        k: signs in a row.

    Returns:
        int32 of shape (m, n).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> a = pack_signs(torch.tensor([[1.0, -1.0, 1.0]]))
    >>> b = pack_signs(torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]]))
    >>> w1a1_matmul(a, b, 3)
    tensor([[ 1, -3]], dtype=torch.int32)
    """
    a_address = _address(a, "a", torch.uint8, dimensions=2, rows_apart=True)
    b_address = _address(b, "b", torch.uint8, dimensions=2, rows_apart=True)
    if not 0 <= k < 2**31:
        raise ProxConnectError(f"k is {k}; expected at least 0 and less than 2**31, as sums are int32")
    if not a.shape[1] == b.shape[1] == packed_width(k):
        raise ProxConnectError(
            f"rows of {a.shape[1]} and {b.shape[1]} bytes do not hold k = {k} signs; "
            f"expected {packed_width(k)} bytes"
        )
    out = torch.empty(a.shape[0], b.shape[0], dtype=torch.int32)
    _apply_environment()
    _native.w1a1_matmul(
        a_address, a.stride(0), b_address, b.stride(0), a.shape[0], b.shape[0], k, out.data_ptr()
    )
    return out


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
    _apply_environment()
    return _native.active_kernels()


def use_kernels(name: str) -> None:
    """Use the named kernel set from now on, in the whole process; every set gives the same results.

    Raises:
        ProxConnectError: no set of that name runs on this processor.

    >>> use_kernels(kernel_sets()[0])
    >>> active_kernels() == kernel_sets()[0]
    True
    """
    _apply_environment()
    _select(name)


def cpu_features() -> dict[str, bool]:
    """Instruction sets that kernels may use and whether this processor has them; empty where unknown.

    >>> all(isinstance(present, bool) for present in cpu_features().values())
    True
    """
    return _native.cpu_features()


@cache
def _apply_environment() -> None:
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


def _address(
    tensor: Tensor, name: str, dtype: torch.dtype, *, dimensions: int, rows_apart: bool = False
) -> int:
    """Address of a tensor that compiled code may read: dense, or (``rows_apart``) dense in each row."""
    if tensor.device.type != "cpu" or tensor.dtype != dtype or tensor.ndim != dimensions:
        raise ProxConnectError(
            f"{name} is a {tensor.dtype} tensor of shape {tuple(tensor.shape)} on {tensor.device}; "
            f"expected {dtype} with {dimensions} dimensions on cpu"
        )
    dense = tensor.stride(-1) == 1 or tensor.shape[-1] <= 1 if rows_apart else tensor.is_contiguous()
    if not dense:
        raise ProxConnectError(
            f"{name} is not contiguous (strides {tensor.stride()}); call .contiguous() first"
        )
    return tensor.data_ptr()
