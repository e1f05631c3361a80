"""Layers that the first forward shows to be in vain: read and never called, or with inputs of one sign.

If a model reads a layer's weight without calling the layer, its input quantizer or kernel never runs. If all
inputs of a layer with binary input are at least 0, as behind a ReLU, all its inputs become +1.

What is seen is kept in plain attributes, on which no output and no ``state_dict`` depends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.base.eager import traced, watched
from proxconnect.base.notice import notice

# Attributes of a watched layer: its name, the id of the outermost module around it whose forward runs, and
# whether it was called or only read.
_NAME, _WITHIN, _USE = "watched_as", "watched_within", "use_seen"
# Attribute of a layer whose inputs are all at least 0 in its first forward.
_ONE_SIGN = "inputs_of_one_sign"
# Attribute of a module around watched layers: whether its first forward is still to come.
_WATCHING = "watches_reads"
# Attribute of whatever gives a layer's weight: the layer itself or the module that computes the weight.
_READ = "weight_was_read"


def watch_reads_(model: nn.Module, kind: type[nn.Module]) -> None:
    """Have the modules around layers of this kind see, in their first forward, which layers they only read.

    A warning then names the layers that should have a binary input. PyTorch's encoder layers no longer take
    their fused path, which reads weights and calls no layer, nor do encoders make nested tensors for it.
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, kind):
            continue
        parts = name.split(".")
        for depth in range(len(parts) if name else 0):
            around = model.get_submodule(".".join(parts[:depth]))
            if isinstance(around, nn.TransformerEncoderLayer):
                around.activation_relu_or_gelu = 0
            elif isinstance(around, nn.TransformerEncoder):
                around.use_nested_tensor = False
            if _USE in layer.__dict__:
                continue
            if _WATCHING not in around.__dict__:
                around.register_forward_pre_hook(_before)
                around.register_forward_hook(_after)
            around.__dict__[_WATCHING] = True
        layer.__dict__.setdefault(_NAME, name)


def note_call(layer: nn.Module) -> None:
    """Note that the layer's own forward runs."""
    if _observed():
        layer.__dict__[_USE] = "called"


def note_input(layer: nn.Module, input: Tensor, shifted: Callable[[Tensor], Tensor]) -> None:
    """Note that the layer's own forward runs, and whether ``shifted(input)`` is at least 0 everywhere.

    Equal values, as in a trial with zeros, show nothing.
    """
    if not _observed():
        return
    first = _USE not in layer.__dict__ and _NAME in layer.__dict__
    layer.__dict__[_USE] = "called"
    if first and input.numel() and not watched(input):
        low, high = shifted(input).detach().aminmax()
        layer.__dict__[_ONE_SIGN] = bool(0 <= low < high)


def note_read(giver: nn.Module) -> None:
    """Note that a layer, or the module that computes a layer's weight, was asked for the weight."""
    if _observed():
        giver.__dict__[_READ] = True


def is_only_read(layer: nn.Module) -> bool:
    """Tell whether a forward around the layer read its weight, and none has called the layer."""
    return bool(layer.__dict__.get(_USE) == "read")


def forget_reads(layer: nn.Module) -> None:
    """Forget what was seen of a layer."""
    for name in (_NAME, _WITHIN, _USE, _READ, _ONE_SIGN):
        layer.__dict__.pop(name, None)


def is_hooked(module: nn.Module) -> bool:
    """Tell whether a module has forward hooks, except those of a watch that is over."""
    own = module.__dict__
    before, after = own["_forward_pre_hooks"], own["_forward_hooks"]
    if not before and not after:
        return False
    return bool(own.get(_WATCHING, True) or [*before.values()] != [_before] or [*after.values()] != [_after])


def _observed() -> bool:
    return not (torch.compiler.is_compiling() or traced())


def _watched(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if _NAME in part.__dict__]


def _before(module: nn.Module, args: Any) -> None:
    if not _observed() or not module.__dict__[_WATCHING]:
        return
    for layer in _watched(module):
        if layer.__dict__.setdefault(_WITHIN, id(module)) == id(module):
            for part in layer.modules():
                part.__dict__.pop(_READ, None)  # what was read by hand, outside of a forward


def _after(module: nn.Module, args: Any, output: Any) -> None:
    if not _observed() or not module.__dict__[_WATCHING]:
        return
    module.__dict__[_WATCHING] = False  # the hooks stay: without them, torch.compile would compile again
    unquantized, one_sign = [], []
    for layer in _watched(module):
        if layer.__dict__.get(_WITHIN) != id(module):
            continue  # a forward around this one goes on, and may still call the layer
        del layer.__dict__[_WITHIN]
        if layer.__dict__.pop(_ONE_SIGN, False):
            one_sign.append(repr(layer.__dict__[_NAME]))
        if _USE not in layer.__dict__ and any(_READ in part.__dict__ for part in layer.modules()):
            layer.__dict__[_USE] = "read"
            if hasattr(layer, "input_quantizer"):
                unquantized.append(repr(layer.__dict__[_NAME]))
    if unquantized:
        notice(
            f"the model reads the weight of {', '.join(unquantized)} without calling the layer, so the input "
            "is not binarized: call the layer, or binarize its weight alone, with an entry of its own in a "
            "map of configurations"
        )
    if one_sign:
        notice(
            f"all inputs of {', '.join(one_sign)} are at least 0, as behind a ReLU, so they all become +1 "
            "and the layer sees nothing: put a function with negative values there (nn.PReLU, nn.Hardtanh), "
            "move the normalisation behind the ReLU, or leave the layer out"
        )
