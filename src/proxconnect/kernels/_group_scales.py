"""Lay the scales of groups of inputs out as the kernels read them: panel by panel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from proxconnect.base.memory import weight_memory
from proxconnect.kernels._panels import PANEL_WIDTH


def scales_by_panels(scale: Tensor) -> Tensor:
    """Return ``panels[p, g, j] = scale[16 p + j, g]``, filled up with zeros, of any dtype.

    Args:
        scale: of shape (n, groups).

    >>> import torch
    >>> scales_by_panels(torch.ones(17, 3)).shape
    torch.Size([2, 3, 16])
    """
    n, groups = scale.shape
    filled = functional.pad(scale, (0, 0, 0, -n % PANEL_WIDTH)) if n % PANEL_WIDTH else scale
    by_panels = filled.reshape(-(-n // PANEL_WIDTH), PANEL_WIDTH, groups).transpose(1, 2)
    return weight_memory(by_panels.shape, scale.dtype).copy_(by_panels)


def scales_by_rows(panels: Tensor, n: int) -> Tensor:
    """Undo :func:`scales_by_panels` for ``n`` rows."""
    return panels.transpose(1, 2).flatten(0, 1)[:n].contiguous()


def scales_of_rows(panels: Tensor, index: Tensor) -> Tensor:
    """Return the scales of the rows of these numbers, of shape (rows, groups)."""
    return panels[index // PANEL_WIDTH, :, index % PANEL_WIDTH]
