"""The tensors of layers that can be binarized."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from proxconnect.base.rows import Rows

LINEAR_AND_CONV = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Torch's layers whose weight is one matrix or convolution kernel; see :func:`is_linear_or_conv`."""
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """List the names of the module's tensors that can be binarized, in any form that they have now.

    >>> weight_names(nn.LSTM(2, 3))
    ('weight_ih_l0', 'weight_hh_l0')
    >>> weight_names(nn.LayerNorm(2))
    ()
    """
    if is_linear_or_conv(module) or isinstance(module, nn.Embedding):
        return ("weight",)
    if isinstance(module, nn.MultiheadAttention):
        return tuple(name for name in _ATTENTION if getattr(module, name) is not None)
    if isinstance(module, nn.RNNBase):
        return tuple(name for name in module._flat_weights_names if name.startswith("weight"))
    if isinstance(module, nn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    return ()


def is_linear_or_conv(module: nn.Module) -> bool:
    """Tell whether a module is one of :data:`LINEAR_AND_CONV` or the ``Conv1D`` of transformers."""
    return isinstance(module, LINEAR_AND_CONV) or is_transposed_linear(module)


def is_transposed_linear(module: nn.Module) -> bool:
    """Tell whether a module is the ``Conv1D`` of the library transformers: ``x @ weight + bias``.

    It is a linear layer with ``nx`` inputs and ``nf`` outputs whose weight has the shape ``(nx, nf)``. It is
    recognised by the name of its class, so that transformers need not be imported.
    """
    named = any(kind.__name__ == "Conv1D" for kind in type(module).__mro__)
    return named and hasattr(module, "nx") and hasattr(module, "nf")


def full_name(fqn: str, tensor_name: str) -> str:
    """Return the full name of a tensor of the module called ``fqn``, which is empty for the model itself.

    >>> full_name("blocks.0", "weight"), full_name("", "weight")
    ('blocks.0.weight', 'weight')
    """
    return f"{fqn}.{tensor_name}".lstrip(".")


def rows_of(module: nn.Module, shape: Sequence[int], group: int | None = None) -> Rows:
    """Return the rows of a layer's weight of this shape, one for each output channel."""
    transposed = (
        module.groups if isinstance(module, _TRANSPOSED) else 1 if is_transposed_linear(module) else None
    )
    rows = Rows(tuple(shape), None, transposed)
    if group is None:
        return rows
    # A group larger than a row is the row.
    return replace(rows, group=min(group, max(1, math.prod(rows.row_shape[1:]))))


def read_weights_anew(kind: type[nn.RNNBase]) -> None:
    """Make a class of recurrent layers read its weights by name in each forward.

    PyTorch's own layers keep a list of their first parameters, which misses weights that are computed.
    """

    def flat_weights(module: nn.RNNBase) -> list[Tensor]:
        return [getattr(module, name) for name in module._flat_weights_names]

    def keep_nothing(module: nn.RNNBase, weights: object = None) -> None:
        return None

    overrides = {
        "_flat_weights": property(flat_weights, keep_nothing),
        "_init_flat_weights": keep_nothing,
        "_update_flat_weights": keep_nothing,
    }
    for name, override in overrides.items():
        setattr(kind, name, override)
