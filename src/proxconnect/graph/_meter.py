"""Counting of the memory and operations of operators, on tensors that have a shape and no data."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from proxconnect.errors import FormatError
from proxconnect.graph._base_rules import base_result

OPERATIONS_PER_BYTE = 16_384


class Meter(TorchDispatchMode):
    """A mode of PyTorch that adds up memory and operations of every operator, and stops at a limit.

    Memory counts all tensors alive, those inside of an operator too, and the padded copy that a convolution
    may make of its input. Operations count the numbers read and written and the multiply-accumulates.

    Args:
        max_bytes: the largest number of bytes alive at once; None for no limit. The limit of the operations
            is :data:`OPERATIONS_PER_BYTE` times as large.
    """

    def __init__(self, max_bytes: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.max_bytes = max_bytes
        self.bytes = 0
        self.operations = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would import its compiler, to exclude this mode from compiling; nothing here is compiled.
        return False

    def count(self, operations: int) -> None:
        """Add a number of operations.

        Raises:
            FormatError: there are too many operations.
        """
        self.operations += operations
        if self.max_bytes is not None and self.operations > OPERATIONS_PER_BYTE * self.max_bytes:
            raise FormatError(
                f"the network takes more than {OPERATIONS_PER_BYTE * self.max_bytes} operations, "
                f"{OPERATIONS_PER_BYTE} for each byte of max_bytes; pc.load takes a larger max_bytes"
            )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = base_result(func, args, kwargs or {})
        if result is None:
            result = func(*args, **(kwargs or {}))
        made = _tensors(result)
        for tensor in made:
            self._note(tensor)
        if func._schema.returns and func._schema.returns[0].alias_info is None:
            self.count(sum(tensor.numel() for tensor in (*_tensors(args), *made)))
            self.count(_products(func, args, kwargs or {}, result))
        if func is torch.ops.aten.convolution.default:
            self._check(_padded_bytes(*args))
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) not in self._known:
            size = storage.nbytes()
            self._known.add(id(storage))
            weakref.finalize(storage, self._forget, id(storage), size).atexit = False
            self.bytes += size
            self._check(0)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size

    def _check(self, more: int) -> None:
        if self.max_bytes is not None and self.bytes + more > self.max_bytes:
            raise FormatError(
                f"its values take {self.bytes + more} bytes at once, and max_bytes allows {self.max_bytes}; "
                "pc.load takes a larger max_bytes"
            )


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [x for value in values for x in _tensors(value)] if isinstance(values, tuple | list) else []


def _products(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Count the multiply-accumulates of an operator, which add to the numbers read and written."""
    packet, name = func._overloadpacket, func._schema.name.removeprefix("aten::")
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result)) // 2
    if name in _POOLS:
        kernel = tuple(args[1]) * _POOLS[name] if len(args[1]) == 1 else args[1]
        return _tensors(result)[0].numel() * int(math.prod(kernel))
    if name == "_trilinear":
        return int(args[1].numel() * args[0].shape[0])
    return 0


# The operators of pooling, with their number of dimensions.
_POOLS = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool2d": 2, "avg_pool3d": 3}


def _padded_bytes(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Sequence[int], *_: Any) -> int:
    sizes = x.shape[-len(padding) :]
    area = math.prod(size + 2 * pad for size, pad in zip(sizes, padding, strict=True))
    return area * math.prod(x.shape[: -len(padding)]) * x.element_size()
