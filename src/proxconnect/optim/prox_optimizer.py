"""The four step rules around any torch optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from proxconnect.errors import ProxConnectError
from proxconnect.layers import BinarizedWeight, BinaryWeight, beside, binarized_weights
from proxconnect.optim._watch import warn_of_decay
from proxconnect.optim.rules import check_fit
from proxconnect.quantizers import w_shaped

Closure = Callable[[], Any]


class ProxOptimizer(Optimizer):
    """An optimizer that takes the steps of ``base`` by one of four rules.

    ``g`` is the gradient and ``eta`` the step size; the step of ``base`` takes the place of ``eta g``. Maps
    act on normalised values: ``P(w)`` stands for ``s P(w/s)`` with the layer's ``latent_scale`` ``s``.

    - ``"pc"`` (ProxConnect++; every method): ``w* <- w* - eta B(w*) g(F(w*))``. The layers do all of it, so a
      bare ``base`` takes the same steps.
    - ``"fp"`` (every method): ``w* <- w* - eta g(w*)``. Training is in full precision, and weights are
      quantized afterwards.
    - ``"rpc"`` (reverse ProxConnect; ``bc``, ``pc``, ``binary-relax``, ``parq``):
      ``w* <- P_mu(w*) - eta g(w*)`` with ``P = F``.
    - ``"pq"`` (ProxQuant; ``bc``): ``w <- P(w - eta g(w))``, then a clip to the range of the levels. ``P`` is
      the W-shaped prox of strength ``eta lambda`` in the units of the latents, which is ``eta lambda / s`` on
      normalised values. ``lambda`` is the ``mu`` of the layers, which a :class:`MuSchedule` makes grow.

    Under ``fp`` and ``rpc`` the layers train on their latents, and compute with ``alpha F(w*/s)`` in eval
    mode. Under ``pq`` they always compute with the stored weights. The ProxOptimizer sets the rule of the
    layers: make it again when training resumes.

    Parameter groups and state are those of ``base``; ``state_dict`` has the name of the rule too. A latent
    without gradient takes no step. With a closure, ``rpc`` projects after the first evaluation. A step that a
    ``GradScaler`` skips changes nothing.

    Sources: ProxConnect (arXiv 2110.13220), ProxConnect++ (arXiv 2402.17710), ProxQuant (arXiv 1810.00861).

    Args:
        base: any torch optimizer of the model's parameters.
        model: a model with binarized layers.
        rule: ``"pc"``, ``"rpc"``, ``"pq"`` or ``"fp"``.

    Raises:
        ProxConnectError: ``base`` is not an optimizer or does not hold a trainable latent of the model,
            nothing is binarized, the rule is unknown, or it does not fit a layer's method.

    >>> import torch, proxconnect as pc
    >>> config = pc.BinarizeConfig("bc")
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), config, filter_fn=lambda module, name: True)
    >>> base = torch.optim.Adam(pc.param_groups(layer, lr=1e-2, latent_lr_relative=True))
    >>> optimizer = pc.ProxOptimizer(base, layer, rule="pq")
    >>> schedule = pc.MuSchedule(layer, "linear", start=0, end=10, steps=50)
    >>> for _ in range(50):
    ...     optimizer.zero_grad()
    ...     layer(torch.randn(16, 8)).square().sum().backward()
    ...     optimizer.step()
    ...     schedule.step()
    >>> quantizer = layer.parametrizations.weight[0]
    >>> torch.allclose(layer.weight.abs(), quantizer.latent_scale.expand(4, 8))
    True
    """

    def __init__(self, base: Optimizer, model: nn.Module, rule: str = "pc") -> None:
        if not isinstance(base, Optimizer) or isinstance(base, ProxOptimizer):
            raise ProxConnectError(
                f"base must be a torch optimizer other than ProxOptimizer, not {type(base).__name__}"
            )
        weights = list(binarized_weights(model))
        if not weights:
            raise ProxConnectError("ProxOptimizer needs a model with binarized layers; call binarize_ first")
        for found in weights:
            check_fit(rule, found.quantizer.pair, found.quantizer.config.levels)
        check_holds_latents(base, weights)
        self.base = base
        self.rule = rule
        self._quantizers = {found.latent: found.quantizer for found in weights}
        groups, state = base.param_groups, base.state
        super().__init__(groups, base.defaults)  # starts with no groups and no state, here those of base
        base.param_groups, base.state = groups, state
        self._share_state_hooks()
        for found in weights:
            found.quantizer.rule = rule
        warn_of_decay(base.param_groups, weights)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of ``base``."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base.param_groups = groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The state of ``base``."""
        return self.base.state

    @state.setter
    def state(self, state: defaultdict[Tensor, Any]) -> None:
        self.base.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of ``base``."""
        return self.base.defaults

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.base.defaults = defaults

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group to ``base``."""
        self.base.add_param_group(param_group)

    def step(self, closure: Closure | None = None) -> Any:
        """Take one step by the rule, and return the result of ``base.step``.

        Args:
            closure: evaluates the model again and returns the loss, for a ``base`` that needs one.
        """
        if self.rule == "rpc":
            if closure is None:
                self._project()
            else:
                closure = self._projecting_once(closure)
        loss = self.base.step(closure)
        if self.rule == "pq":
            self._shrink()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of ``base`` and the name of the rule."""
        return {**self.base.state_dict(), "rule": self.rule}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a :meth:`state_dict`; the state of a bare optimizer counts as one of the rule ``pc``.

        Raises:
            ProxConnectError: the state was saved under another rule. Nothing is loaded then.
        """
        saved = state_dict.get("rule", "pc")
        if saved != self.rule:
            raise ProxConnectError(
                f"the state was saved under rule {saved!r}, but this optimizer follows {self.rule!r}; "
                f"make it with rule={saved!r} to continue"
            )
        self.base.load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "rule": self.rule, "_quantizers": self._quantizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share_state_hooks()

    def _share_state_hooks(self) -> None:
        # The base makes and loads the state, so hooks on the state are hooks of the base.
        for kind in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
            name = f"_optimizer_{kind}_hooks"
            setattr(self, name, getattr(self.base, name))

    def _stepping(self) -> Iterator[tuple[Tensor, BinaryWeight, Any]]:
        for group in self.param_groups:
            for latent in group["params"]:
                if latent in self._quantizers and latent.grad is not None:
                    yield latent, self._quantizers[latent], group["lr"]

    @torch.no_grad()
    def _project(self) -> None:
        """Set ``w* <- P_mu(w*)``."""
        for latent, quantizer, _ in self._stepping():
            scale = beside(quantizer.latent_scale, latent)
            latent.copy_(scale * quantizer.pair(latent / scale, quantizer.mu))

    def _projecting_once(self, closure: Closure) -> Closure:
        """Wrap the closure: after its first evaluation, when the gradients are there, project the latents."""
        pending = True

        def evaluate() -> Any:
            nonlocal pending
            loss = closure()
            if pending:
                self._project()
            pending = False
            return loss

        return evaluate

    @torch.no_grad()
    def _shrink(self) -> None:
        """Set ``w <- P(w)`` with strength ``eta lambda``, then clip."""
        for latent, quantizer, lr in self._stepping():
            scale, levels = beside(quantizer.latent_scale, latent), quantizer.config.levels
            strength = lr * quantizer.mu.to(latent.dtype) / scale
            shrunk = w_shaped(levels)(latent / scale, strength)
            latent.copy_(scale * shrunk.clamp(levels[0], levels[-1]))


def check_holds_latents(optimizer: Optimizer, weights: Iterable[BinarizedWeight]) -> None:
    """Refuse an optimizer that does not move a latent which requires a gradient.

    Raises:
        ProxConnectError: a latent is missing, as where the optimizer was made before ``binarize_``.
    """
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    for found in weights:
        if found.latent.requires_grad and found.latent not in held:
            raise ProxConnectError(
                f"the optimizer does not hold the latent weight {found.name!r}: make it from the parameters "
                "that the model has after binarize_, for example by param_groups(model, lr)"
            )
