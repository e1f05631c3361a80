"""Optimizers that someone else made: give the latents parameter groups of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.optim import Adam, Adamax, NAdam, Optimizer, RAdam
from torch.optim.lr_scheduler import LRScheduler

from proxconnect.layers import binarized_weights
from proxconnect.optim import ADAM_LATENT_LR, check_holds_latents, param_groups

_MOVES_BY_RATE = (Adam, Adamax, NAdam, RAdam)
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_RATES_OF_SCHEDULERS = ("base_lrs", "max_lrs", "min_lrs", "_last_lr")
_BY_GROUP = (*_RATES_OF_SCHEDULERS, "lr_lambdas", "base_momentums", "max_momentums")


def regroup_latents_(
    optimizer: Optimizer,
    model: nn.Module,
    *,
    latent_lr: float | None = None,
    latent_lr_relative: bool | None = None,
    latent_weight_decay: float = 0.0,
    latent_clip: float | None = None,
    schedulers: Iterable[LRScheduler] = (),
) -> Optimizer:
    """Move the latents of ``model`` into parameter groups of their own, in place.

    Factories of optimizers put all parameters into a few groups, so that weight decay shrinks the latents and
    the learning rate of other weights moves them. The new groups are like those of :func:`pc.param_groups`;
    all else, such as the betas of Adam and the state of the optimizer, stays. Latents that have a group
    of their own already (one that holds nothing else) stay there.

    Args:
        optimizer: a torch optimizer that holds the latents of the model.
        model: a model with binarized layers.
        latent_lr: learning rate of the latents. By default 5e-2 of each layer's scale for Adam and its kin,
            and the learning rate of their present group for other optimizers.
        latent_lr_relative: see :func:`pc.param_groups`; by default True for Adam and its kin.
        latent_weight_decay: weight decay of the latents.
        latent_clip: bound of ``|w*/s|``, see :func:`pc.clip_latents`.
        schedulers: the schedulers of the learning rates of this optimizer. They move the new groups in
            proportion to the groups that the latents come from.

    Returns:
        ``optimizer``.

    Raises:
        ProxConnectError: the model has no binarized layers, the optimizer does not hold their latents, or a
            value is out of range.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig())
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    >>> _ = pc.integrations.loops.regroup_latents_(optimizer, model)
    >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
    [(5, 0.1), (1, 0.0)]
    """
    weights = list(binarized_weights(model))
    check_holds_latents(optimizer, weights)
    latents = {id(found.latent) for found in weights}
    by_rate = isinstance(optimizer, _MOVES_BY_RATE)
    for place, source in enumerate([*optimizer.param_groups]):
        own = [parameter for parameter in source["params"] if id(parameter) in latents]
        if not own or len(own) == len(source["params"]):
            continue
        base = float(source.get("initial_lr", source["lr"]))
        standard = ADAM_LATENT_LR if by_rate else base
        made = param_groups(
            model,
            base,
            latent_lr=standard if latent_lr is None else latent_lr,
            latent_lr_relative=by_rate if latent_lr_relative is None else latent_lr_relative,
            latent_weight_decay=latent_weight_decay,
            latent_clip=latent_clip,
        )
        names = _take_out(source, {id(parameter) for parameter in own})
        for group in made:
            mine = [parameter for parameter in group["params"] if id(parameter) in names]
            if mine:
                factor = group["lr"] / base
                rates = {name: factor * source[name] for name in _RATES if name in source}
                named = [(names[id(each)], each) if names[id(each)] else each for each in mine]
                optimizer.add_param_group({**source, **group, **rates, "params": named})
                for scheduler in _leaves(schedulers):
                    _extend(scheduler, place, factor, len(optimizer.param_groups))
    return optimizer


def _take_out(group: dict[str, Any], chosen: set[int]) -> dict[int, str]:
    """Take parameters out of a group; return their names, empty where the group has none, by identity."""
    names = group.get("param_names", [""] * len(group["params"]))
    pairs = list(zip(group["params"], names, strict=True))
    kept = [(parameter, name) for parameter, name in pairs if id(parameter) not in chosen]
    group["params"] = [parameter for parameter, _ in kept]
    if "param_names" in group:
        group["param_names"] = [name for _, name in kept]
    return {id(parameter): name for parameter, name in pairs if id(parameter) in chosen}


def _leaves(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Yield the schedulers, and those that a scheduler consists of."""
    for scheduler in schedulers:
        yield scheduler
        yield from _leaves(getattr(scheduler, "_schedulers", ()))


def _extend(scheduler: Any, place: int, factor: float, groups: int) -> None:
    """Give the lists of a scheduler, one entry a group, an entry for the group that was added last."""
    for name in _BY_GROUP:
        value = getattr(scheduler, name, None)
        if isinstance(value, list) and len(value) == groups - 1:
            value.append(factor * value[place] if name in _RATES_OF_SCHEDULERS else value[place])
