"""Attach certificates to a training run, one for every binarized layer, and record the optimizer's steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from proxconnect.errors import ProxConnectError
from proxconnect.layers import BinaryWeight, binarized_weights
from proxconnect.theory.certificate.certificate import Certificate
from proxconnect.theory.certificate.reading import CertificateReading, added


@dataclass
class _Layer:
    """One observed latent: the gradient of this step, and the step that waits for the next ``mu``."""

    name: str
    latent: nn.Parameter
    quantizer: BinaryWeight
    certificate: Certificate
    gradient: Tensor | None = None
    waiting: tuple[Tensor, Tensor, float, float] | None = None

    def settle(self) -> None:
        """Record the step that waits, with the present latent and sharpness."""
        if self.waiting is not None:
            self.certificate.record(*self.waiting, self.latent.detach(), float(self.quantizer.mu))
        self.waiting = None


class AttachedCertificate:
    """Certificates of all binarized layers of a model in training; made by :meth:`Certificate.attach`.

    A step is recorded when the next one starts. So every change of latents or ``mu`` in between, by a
    schedule or by clipping, belongs to the step. :meth:`close` records the last step; a ``with`` block calls
    it.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        layers: dict[int, _Layer] = {}
        self._layers: list[_Layer] = []
        self._handles: list[Any] = []
        for found in binarized_weights(model):
            if found.quantizer.rule != "pc":
                self.close()
                raise ProxConnectError(
                    f"the certificate speaks of the step rule 'pc' alone, but {found.name!r} trains under "
                    f"{found.quantizer.rule!r}"
                )
            if id(found.latent) not in layers:  # tied weights are one latent with one quantizer
                certificate = Certificate(found.quantizer.pair, scale=found.quantizer.latent_scale)
                layers[id(found.latent)] = _Layer(found.name, found.latent, found.quantizer, certificate)
                self._watch(found.quantizer, layers[id(found.latent)])
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not layers:
            raise ProxConnectError("nothing to certify: the model has no binarized layer; binarize_ it first")
        for layer in layers.values():
            if id(layer.latent) not in stepped:
                raise ProxConnectError(f"the optimizer does not train the latent of {layer.name!r}")
        self._layers = list(layers.values())
        self._handles.append(optimizer.register_step_pre_hook(self._before_step))

    @property
    def layers(self) -> dict[str, Certificate]:
        """Certificate of each latent, by the name of its tensor, such as ``"2.weight"``."""
        return {layer.name: layer.certificate for layer in self._layers}

    def against(self, u: Mapping[str, Tensor] | None = None) -> CertificateReading:
        """Read the certificates of all latents together: see :meth:`Certificate.against`.

        Args:
            u: a comparator for each tensor's name; by default the last ``P(w*)``.
        """
        readings = [
            certificate.against(None if u is None else u[name]) for name, certificate in self.layers.items()
        ]
        return added(readings, list(self.layers))

    def report(self, u: Mapping[str, Tensor] | None = None) -> str:
        """Write :meth:`against` in words."""
        return str(self.against(u))

    def close(self) -> None:
        """Record the last step and stop watching."""
        for handle in self._handles:
            handle.remove()
        for layer in self._layers:
            layer.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _watch(self, quantizer: BinaryWeight, layer: _Layer) -> None:
        def after_forward(module: nn.Module, args: tuple[Tensor, ...], weight: Tensor) -> None:
            if not weight.requires_grad:
                return
            factor = quantizer.scale(args[0]).detach() / quantizer.latent_scale

            def collect(gradient: Tensor) -> None:
                share = factor * gradient
                layer.gradient = share if layer.gradient is None else layer.gradient + share

            weight.register_hook(collect)

        self._handles.append(quantizer.register_forward_hook(after_forward))

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        for layer in self._layers:
            layer.settle()
            latent = layer.latent.detach().clone()
            gradient = torch.zeros_like(latent) if layer.gradient is None else layer.gradient
            layer.gradient = None
            layer.waiting = latent, gradient, rates[id(layer.latent)], float(layer.quantizer.mu)
