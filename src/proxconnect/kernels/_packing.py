"""Pack signs and unpack weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels._checks import address
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._images import check_float_images


def pack_signs(x: Tensor) -> Tensor:
    """Pack the signs of a matrix; both zeros and NaN count as +1, as ``torch.sign(x) + 0.5`` decides.

    Args:
        x: float32 of shape (rows, columns), contiguous, on the CPU.

    Returns:
        uint8 of shape (rows, packed_width(columns)).

    Raises:
        ProxConnectError: ``x`` is not such a tensor.

    >>> pack_signs(torch.tensor([[1.0, -1.0, -0.0, -2.0]]))
    tensor([[5]], dtype=torch.uint8)
    """
    x_address = address(x, "x", torch.float32, dimensions=2)
    rows, columns = x.shape
    bits = torch.empty(rows, packed_width(columns), dtype=torch.uint8, device="cpu")
    nan = run(native.pack_signs, x_address, rows, columns, pointer(bits))
    return bits if nan < 0 else pack_signs(_without_nan(x))


def pack_pixels(x: Tensor) -> Tensor:
    """Pack the signs of images pixel by pixel; both zeros and NaN count as +1.

    Args:
        x: float32 of shape (N, C, H, W) on the CPU. Contiguous and channels_last tensors are read as they
            lie, others copied first.

    Returns:
        uint8 of shape (N, H, W, packed_width(C)).

    Raises:
        ProxConnectError: ``x`` is not such a tensor.

    >>> pack_pixels(torch.tensor([1.0, -1.0, -0.0]).reshape(1, 3, 1, 1))
    tensor([[[[5]]]], dtype=torch.uint8)
    """
    check_float_images(x)
    count, channels, height, width = x.shape
    pixels = height * width
    bits = torch.empty(count, height, width, packed_width(channels), dtype=torch.uint8, device="cpu")
    if x.is_contiguous(memory_format=torch.channels_last):
        nan = run(native.pack_signs, pointer(x), count * pixels, channels, pointer(bits)) >= 0
    else:
        x = x.contiguous()
        nan = run(native.pack_planes, pointer(x), count, channels, pixels, pointer(bits))
    return pack_pixels(_without_nan(x)) if nan else bits


def _without_nan(x: Tensor) -> Tensor:
    """Copy with a zero for each NaN: kernels tell that there are some, and pack no more."""
    return x.masked_fill(x.isnan(), 0.0)


def unpack_weights(bits: Tensor, scale: Tensor, shape: Sequence[int], group: int | None = None) -> Tensor:
    """Unpack weights of a packed file: ``+scale``, ``-scale`` or ``+0`` (``docs/format.md``, section 3).

    Args:
        bits: uint8 of shape (rows, packed_width(elements in a row)), contiguous, on the CPU: set for +. Of
            shape (2, rows, ...) for weights that may be 0: a plane that is set where they are not, and the
            signs.
        scale: floating point on the CPU: one element for all rows, one for each row, or with ``group`` of
            shape (rows, groups).
        shape: the shape of the weights, output channels (rows) first.
        group: elements of a row that share a scale, the last group may be shorter; all where absent.

    Returns:
        float32 of ``shape``.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> unpack_weights(torch.tensor([[5]], dtype=torch.uint8), torch.tensor(0.5), (1, 4))
    tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """
    planes = 2 if bits.ndim == 3 else 1
    bits_address = address(bits, "bits", torch.uint8, dimensions=planes + 1)
    if len(shape) == 0 or min(shape) < 0:
        raise ProxConnectError(f"{tuple(shape)} is not the shape of a weight; expected output channels first")
    rows, columns = shape[0], math.prod(shape[1:])
    expected = (rows, packed_width(columns)) if planes == 1 else (2, rows, packed_width(columns))
    if tuple(bits.shape) != expected:
        raise ProxConnectError(
            f"bits of shape {tuple(bits.shape)} do not hold weights of shape {tuple(shape)}; "
            f"expected {expected}"
        )
    if group is None:
        if scale.numel() not in (1, rows):
            raise ProxConnectError(
                f"scale has {scale.numel()} elements; expected 1, or {rows} for {rows} rows"
            )
        scale = scale.reshape(-1).expand(rows)
    elif group < 1:
        raise ProxConnectError(f"group is {group}; expected at least 1")
    elif tuple(scale.shape) != (rows, -(-columns // group)):
        raise ProxConnectError(
            f"scale has shape {tuple(scale.shape)}; expected {(rows, -(-columns // group))}, "
            f"one for each group of {group}"
        )
    scales = scale.detach().to(torch.float32).contiguous()
    weights = torch.empty(tuple(shape), dtype=torch.float32, device="cpu")
    run(
        native.unpack_weights,
        bits_address + (bits[0].numel() if planes == 2 else 0),
        bits_address if planes == 2 else 0,
        address(scales, "scale", torch.float32, dimensions=scales.ndim),
        rows,
        columns,
        group or max(columns, 1),
        pointer(weights),
    )
    return weights
