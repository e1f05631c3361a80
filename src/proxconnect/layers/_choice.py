"""The choice of the layers to binarize, with the reasons why other layers stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import nn

from proxconnect.base.notice import notice
from proxconnect.errors import ProxConnectError
from proxconnect.layers._ends import ends
from proxconnect.layers._fitness import is_float_parameter, other_form
from proxconnect.layers._hardened import remembered
from proxconnect.layers._parametrization import binary_weight
from proxconnect.layers._tensors import is_linear_or_conv, weight_names
from proxconnect.layers.config import BinarizeConfig

Filter = Callable[[nn.Module, str], bool]
ConfigMap = Mapping[str, BinarizeConfig | None]

# For each layer that can be binarized, by name: how, or why not.
Choice = dict[str, BinarizeConfig | str]


def choose(model: nn.Module, config: BinarizeConfig | ConfigMap, filter_fn: Filter | None) -> Choice:
    """Choose the configuration of every layer of ``model`` that can be binarized.

    Raises:
        ProxConnectError: a pattern is wrong or fits no layer, nothing is chosen, or map and filter are both
            given.
    """
    layers = {name: module for name, module in model.named_modules() if weight_names(module)}
    if isinstance(config, BinarizeConfig):
        choice = (
            _by_order(model, layers, config) if filter_fn is None else _by_filter(layers, config, filter_fn)
        )
    elif not isinstance(config, Mapping):
        raise ProxConnectError(f"config must be a BinarizeConfig or a map of patterns, not {config!r}")
    elif filter_fn is not None:
        raise ProxConnectError("a map of patterns chooses layers itself: pass it without filter_fn")
    else:
        choice = _by_map(layers, config)
    if not any(isinstance(verdict, BinarizeConfig) for verdict in choice.values()):
        reasons = _some([f"{name!r} ({verdict})" for name, verdict in choice.items()])
        raise ProxConnectError(
            f"nothing to binarize: of the layers that can be, none is chosen: {reasons}; "
            "choose some by filter_fn or a map of patterns"
        )
    return choice


def default_layers(model: nn.Module) -> tuple[str, ...]:
    """Name the layers of ``model`` that ``binarize_`` takes by default, in registration order.

    >>> default_layers(nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))))
    ('1', '2')
    """
    layers = {name: module for name, module in model.named_modules() if weight_names(module)}
    first_and_last = ends(model, layers)
    return tuple(
        name
        for name, module in layers.items()
        if is_linear_or_conv(module) and name not in first_and_last and not _unfit(module)
    )


def _by_order(model: nn.Module, layers: Mapping[str, nn.Module], config: BinarizeConfig) -> Choice:
    choice: Choice = {}
    for name, module in layers.items():
        choice[name] = config if is_linear_or_conv(module) else "only Linear and Conv by default"
    choice |= ends(model, layers)
    unfit = {name: _unfit(layers[name]) for name, verdict in choice.items() if verdict is config}
    unfit = {name: why for name, why in unfit.items() if why}
    if unfit:
        shown = _some([f"{name!r} ({why})" for name, why in unfit.items()])
        notice(f"binarize_ leaves layers as they are: {shown}")
    return choice | unfit


def _unfit(module: nn.Module) -> str:
    """Explain why the weight of a layer cannot become latents, if another library has changed the layer."""
    form = other_form(module, "weight")
    if form is not None:
        return f"{form[0]}; {form[1]} makes it plain"
    kept = is_float_parameter(module, "weight") or remembered(module)
    return (
        ""
        if kept or binary_weight(module)
        else f"its weight is {type(module.weight).__name__}, {module.weight.dtype}"
    )


def _by_filter(layers: Mapping[str, nn.Module], config: BinarizeConfig, filter_fn: Filter) -> Choice:
    return {name: config if filter_fn(module, name) else "filter_fn" for name, module in layers.items()}


def _by_map(layers: Mapping[str, nn.Module], configs: ConfigMap) -> Choice:
    choice: Choice = {}
    for pattern, config in configs.items():
        if not isinstance(config, BinarizeConfig | None):
            raise ProxConnectError(f"pattern {pattern!r}: expected a BinarizeConfig or None, not {config!r}")
        matched = [name for name in layers if _fits(pattern, name)]
        if not matched:
            raise ProxConnectError(
                f"pattern {pattern!r} fits no layer that can be binarized; those are "
                + _some([repr(name) for name in layers])
            )
        for name in matched:
            choice.setdefault(name, f"pattern {pattern!r}" if config is None else config)
    return {name: choice.get(name, "no pattern") for name in layers}


def _fits(pattern: str, name: str) -> bool:
    if not pattern.startswith("re:"):
        return pattern == name
    try:
        return re.fullmatch(pattern.removeprefix("re:"), name) is not None
    except re.error as error:
        raise ProxConnectError(f"pattern {pattern!r} is not a regular expression: {error}") from None


def _some(items: list[str]) -> str:
    shown = ", ".join(items[:5]) or "there are none"
    return f"{shown} and {len(items) - 5} more" if len(items) > 5 else shown
