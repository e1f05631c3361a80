"""The schedule of ProxConnect's theory: a sharpness that grows by the step sizes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from proxconnect.errors import ProxConnectError
from proxconnect.layers import binarized_weights
from proxconnect.optim._watch import warn_of_decay


class CumulativeSchedule:
    """A schedule with ``mu_t = 1 + sum_{s<t} eta_s``, where ``eta`` are the step sizes of a layer's latent.

    With this schedule ProxConnect is a generalised conditional gradient method, or regularised dual
    averaging: step ``t`` uses the proximal map of ``mu_t r``. The schedule is meant for maps whose ``mu``
    multiplies ``r``, such as ``binary-relax``. Call :meth:`step` after ``optimizer.step()`` and before the
    step of a learning-rate scheduler.

    Source: ProxConnect (arXiv 2110.13220).

    Args:
        model: a model with binarized layers.
        optimizer: the optimizer whose step sizes count: the ``lr`` of its parameter groups.

    Raises:
        ProxConnectError: the model has no binarized layer, or the optimizer does not hold a layer's latent.

    >>> import torch, proxconnect as pc
    >>> config = pc.BinarizeConfig("binary-relax")
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), config, filter_fn=lambda module, name: True)
    >>> schedule = CumulativeSchedule(layer, torch.optim.SGD(layer.parameters(), lr=0.25))
    >>> schedule.step()
    >>> schedule.step()
    >>> layer.parametrizations.weight[0].mu
    tensor(1.5000)
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        layers = list(binarized_weights(model))
        if not layers:
            raise ProxConnectError("a mu schedule needs a model with binarized layers; call binarize_ first")
        warn_of_decay(optimizer.param_groups, layers)
        self.optimizer = optimizer
        self._layers = [(found.name, found.latent, found.quantizer) for found in layers]
        self._step_sizes()
        self._mu = {name: 1.0 for name, _, _ in self._layers}
        self._set()

    def step(self) -> None:
        """Add the step sizes of the last optimizer step, and set the ``mu`` of the layers."""
        for name, eta in self._step_sizes().items():
            self._mu[name] += eta
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return the present ``mu`` of each layer, by name."""
        return {"mu": dict(self._mu)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`.

        Raises:
            ProxConnectError: the state belongs to other layers.
        """
        if state["mu"].keys() != self._mu.keys():
            raise ProxConnectError(
                f"the state is that of layers {sorted(state['mu'])}, but the model has {sorted(self._mu)}"
            )
        self._mu = dict(state["mu"])
        self._set()

    def _step_sizes(self) -> dict[str, float]:
        rates = {p: float(group["lr"]) for group in self.optimizer.param_groups for p in group["params"]}
        for name, latent, _ in self._layers:
            if latent not in rates:
                raise ProxConnectError(f"the optimizer does not hold the latent weight {name!r}")
        return {name: rates[latent] for name, latent, _ in self._layers}

    def _set(self) -> None:
        for name, _, quantizer in self._layers:
            quantizer.set_mu(self._mu[name])
