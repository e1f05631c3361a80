"""Quantizers of activations: what a layer with binary activations sees is exactly -1 and +1."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from proxconnect.layers._compiled import compiled_pair
from proxconnect.layers._quantize_activation import quantize_activation
from proxconnect.layers._sharpness import Sharp
from proxconnect.quantizers import ForwardBackward, sign


class SignActivation(nn.Module):
    """``sign(x - t)``: what :func:`proxconnect.harden_` makes of a :class:`BinaryActivation`. No gradient.

    Args:
        thresholds: ``t``, one per channel, of a shape that broadcasts against the input; None for 0.
    """

    thresholds: nn.Parameter | None

    def __init__(self, thresholds: nn.Parameter | None = None) -> None:
        super().__init__()
        self.register_parameter("thresholds", thresholds)

    def forward(self, x: Tensor) -> Tensor:
        """``+1`` where ``x >= t``, else ``-1``; like ``x``."""
        return sign(self.shifted(x), 1.0)

    def shifted(self, x: Tensor) -> Tensor:
        """``x - t``."""
        return x if self.thresholds is None else x - self.thresholds


class BinaryActivation(Sharp, SignActivation):
    """``F_mu(x - t)``, with ``B_mu(x - t)`` multiplying the gradient: a pair for activations.

    Where ``F`` is the sign, the output is exactly ``-1`` and ``+1``; other forwards tend to that as the
    float32 buffer ``mu`` grows. Activations are not normalised as latent weights are: a normalisation layer
    before does that. Sources: BNN (arXiv 1602.02830); ReActNet (arXiv 2003.03488), whose RSign has ``t``.

    Args:
        pair: the forward-backward pair.
        thresholds: ``t``, as for :class:`SignActivation`.
        device: where ``mu`` lies.

    A training stage may switch it off (``enabled = False``): activations then stay as they are.

    >>> import torch, proxconnect as pc
    >>> x = torch.tensor([-2.0, -0.5, 0.0, 3.0], requires_grad=True)
    >>> y = BinaryActivation(pc.method("bnn"))(x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([-1.0, -1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0])
    """

    enabled: bool = True

    def __init__(
        self,
        pair: ForwardBackward,
        thresholds: nn.Parameter | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(thresholds)
        self.pair = pair
        self.compiled = compiled_pair(pair)
        self.register_mu(torch.device(device))

    def forward(self, x: Tensor) -> Tensor:
        """The quantized activations; like ``x``."""
        return quantize_activation(self.shifted(x), self.mu, self.compiled) if self.enabled else x

    def hardened(self) -> SignActivation:
        """The sign with the same thresholds."""
        return SignActivation(self.thresholds)

    def extra_repr(self) -> str:
        """The pair's name, for ``print(model)``."""
        return self.pair.name


def activation_quantizers(model: nn.Module) -> Iterator[tuple[str, nn.Module, BinaryActivation]]:
    """Name, layer and :class:`BinaryActivation` of every layer with binary activations that is not hardened.

    The name is the layer's; the order that of registration.
    """
    for name, module in model.named_modules():
        quantizer = getattr(module, "input_quantizer", None)
        if isinstance(quantizer, BinaryActivation):
            yield name, module, quantizer
