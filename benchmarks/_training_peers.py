"""Training steps of other libraries, which ``training_overhead.py`` times beside ours.

Each library needs an environment of its own with the library and ProxConnect: ``pip install brevitas .`` or
``pip install torchao .``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer

Peer = Callable[[nn.Module], Optimizer]


def chosen_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """List the layers that ``binarize_`` chooses by default: all but the first and the last."""
    return [
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    ][1:-1]


def brevitas_weights(network: nn.Module) -> Optimizer:
    """Give each chosen layer brevitas' binary weights of constant scale."""
    from brevitas.nn import QuantConv2d, QuantLinear
    from brevitas.quant import SignedBinaryWeightPerTensorConst

    for name, layer in chosen_layers(network):
        bias = layer.bias is not None
        if isinstance(layer, nn.Conv2d):
            quantized: nn.Module = QuantConv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                stride=layer.stride,
                padding=layer.padding,
                bias=bias,
                weight_quant=SignedBinaryWeightPerTensorConst,
            )
        else:
            quantized = QuantLinear(
                layer.in_features,
                layer.out_features,
                bias=bias,
                weight_quant=SignedBinaryWeightPerTensorConst,
            )
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, quantized)
    network.to(memory_format=torch.channels_last)
    return torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)


def torchao_parq(network: nn.Module) -> Optimizer:
    """Make torchao's PARQ: 1-bit weights, one scale per channel, around the same optimizer."""
    from torchao.prototype.parq.optim import ProxPARQ, QuantOptimizer
    from torchao.prototype.parq.quant import LSBQuantizer

    quantized = [layer.weight for _, layer in chosen_layers(network)]
    own = {id(weight) for weight in quantized}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in own]
    groups = [{"params": quantized, "quant_bits": 1}, {"params": rest}]
    base = torch.optim.Adam(groups, lr=1e-3, fused=True)
    return QuantOptimizer(base, LSBQuantizer(), ProxPARQ(0, 10_000), quant_per_channel=True)


PEERS: dict[str, dict[str, Peer]] = {
    "brevitas": {"brevitas binary weights": brevitas_weights},
    "torchao": {"torchao PARQ": torchao_parq},
}
