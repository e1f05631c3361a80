"""Nonlinearities for feature maps, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxconnect.errors import ProxConnectError, unknown_name


class RPReLU(nn.Module):
    """ReActNet's nonlinearity: ``z + zeta`` where ``z = x - gamma`` is positive, else ``beta z + zeta``.

    ``gamma``, ``zeta`` and ``beta`` are learned per channel and start at 0, 0 and 0.25.

    Source: ReActNet (Liu et al. 2020, arXiv 2003.03488), equation 6.

    Args:
        channels: channels of the feature maps.

    >>> RPReLU(2)(torch.tensor([[[[4.0]], [[-4.0]]]])).flatten().tolist()
    [4.0, -1.0]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.zeta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.beta = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        return functional.prelu(x - self.gamma, self.beta) + self.zeta


NONLINEARITIES: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.ReLU(),
    "prelu": nn.PReLU,
    "rprelu": RPReLU,
    "hardtanh": lambda channels: nn.Hardtanh(),
    "none": lambda channels: nn.Identity(),
}


def create_nonlinearity(name: str, channels: int) -> nn.Module:
    """Create a nonlinearity for feature maps of ``channels`` channels.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches).
    """
    if name not in NONLINEARITIES:
        raise ProxConnectError(unknown_name("nonlinearity", name, NONLINEARITIES))
    return NONLINEARITIES[name](channels)
