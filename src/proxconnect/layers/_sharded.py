"""Latents that lie in parts in several processes, as ``fully_shard`` of PyTorch leaves them.

The forward and backward passes see whole latents; only what runs between them has to know of the parts.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a tensor is a ``DTensor``, whose import would take as long as all of torch."""
    return any(base.__name__ == "DTensor" for base in type(tensor).__mro__)


def gathered(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor; all processes have to ask for that of a sharded one."""
    return cast(Tensor, cast(Any, tensor).full_tensor()) if is_sharded(tensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that lies in this process."""
    return cast(Tensor, cast(Any, tensor).to_local()) if is_sharded(tensor) else tensor


def beside(value: Tensor, latent: Tensor) -> Tensor:
    """Return ``value``, which is the same in all processes, in a form that computes with ``latent``."""
    if not is_sharded(latent):
        return value
    from torch.distributed.tensor import DTensor, Replicate

    mesh = cast(DTensor, latent).device_mesh
    return DTensor.from_local(value, mesh, [Replicate()] * mesh.ndim, run_check=False)
