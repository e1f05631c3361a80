"""Quantizers of activations: the input of a layer with binary activations is exactly -1 and +1."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from proxconnect.layers._compiled import compiled_pair
from proxconnect.layers._quantize_activation import quantize_activation
from proxconnect.layers._sharpness import Sharp
from proxconnect.quantizers import ForwardBackward, sign


class SignActivation(nn.Module):
    """The map ``sign(x - t)`` without gradient, by which hardening replaces a :class:`BinaryActivation`.

    Args:
        thresholds: ``t``, one per channel, of a shape that broadcasts against the input; None for 0.
    """

    thresholds: nn.Parameter | None

    def __init__(self, thresholds: nn.Parameter | None = None) -> None:
        super().__init__()
        self.register_parameter("thresholds", thresholds)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``+1`` where ``x >= t``, else ``-1``, of the shape and dtype of ``x``."""
        return sign(self.shifted(x), 1.0)

    def shifted(self, x: Tensor) -> Tensor:
        """Return ``x - t``."""
        return x if self.thresholds is None else x - self.thresholds


class BinaryActivation(Sharp, SignActivation):
    """A pair for activations: ``F_mu(x - t)``, where ``B_mu(x - t)`` multiplies the gradient.

    If ``F`` is the sign, the output is exactly ``-1`` and ``+1``; other forwards tend to the sign as the
    float32 buffer ``mu`` grows. Activations are not normalised as latent weights are: the normalisation layer
    in front does that. A training stage may switch the quantizer off (``enabled = False``): activations then
    stay as they are.

    Sources: BNN (arXiv 1602.02830); ReActNet (arXiv 2003.03488), whose RSign has ``t``.

    Args:
        pair: the forward-backward pair.
        thresholds: ``t``, as for :class:`SignActivation`.
        device: the device of ``mu``.

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
        """Quantize activations, of the shape and dtype of ``x``."""
        return quantize_activation(self.shifted(x), self.mu, self.compiled) if self.enabled else x

    def hardened(self) -> SignActivation:
        """Return the sign with the same thresholds."""
        return SignActivation(self.thresholds)

    def extra_repr(self) -> str:
        """Name the pair, for ``print(model)``."""
        return self.pair.name


def activation_quantizers(model: nn.Module) -> Iterator[tuple[str, nn.Module, BinaryActivation]]:
    """Iterate over the layers with binary activations that are not hardened.

    Yields:
        The name of the layer, the layer and its :class:`BinaryActivation`, in registration order.
    """
    for name, module in model.named_modules():
        quantizer = getattr(module, "input_quantizer", None)
        if isinstance(quantizer, BinaryActivation):
            yield name, module, quantizer
