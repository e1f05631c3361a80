"""Attaching quantizers to the weights of layers, and removing them again."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from proxconnect.layers._foreign_state import read_foreign_state_, read_own_state_
from proxconnect.layers._parametrization import BinaryWeight, binarized_tensors
from proxconnect.layers._sharded import is_sharded, own_part
from proxconnect.layers._tensors import read_weights_anew


def parametrize_(module: nn.Module, quantizers: dict[str, BinaryWeight]) -> None:
    """Make tensors of ``module`` the quantized weights of latents, by name."""
    for tensor_name, quantizer in quantizers.items():
        _register(module, tensor_name, quantizer)
    read_foreign_state_(module)
    if isinstance(module, nn.RNNBase):
        read_weights_anew(type(module))  # the class that torch made for this module
        del module.__dict__["_flat_weights"]


def _register(module: nn.Module, tensor_name: str, quantizer: BinaryWeight) -> None:
    weight = module._parameters[tensor_name]
    if weight is None or not is_sharded(weight):
        parametrize.register_parametrization(module, tensor_name, quantizer, unsafe=True)
        return
    # torch would swap a DTensor with itself, which fails; a plain parameter holds its place meanwhile.
    module._parameters[tensor_name] = nn.Parameter(own_part(weight.detach()))
    parametrize.register_parametrization(module, tensor_name, quantizer, unsafe=True)
    cast(nn.ModuleDict, module.parametrizations)[tensor_name]._parameters["original"] = weight


def restore_latents(module: nn.Module) -> None:
    """Undo the parametrizations of a binarized module; its weights are its latents afterwards."""
    give_own_class(module)
    read_own_state_(module)
    for tensor_name, _ in list(binarized_tensors(module)):
        parametrize.remove_parametrizations(module, tensor_name, leave_parametrized=False)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def give_own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    ``copy.deepcopy`` leaves copy and original with one class between them, from which torch would delete the
    property of both with the parametrization of one.
    """
    shared = type(module)
    fields = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, fields)
