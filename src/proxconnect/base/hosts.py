"""Libraries that save the models of their own classes, which have to know that one is binarized."""

from __future__ import annotations

from importlib import import_module

from torch import nn

# The base class of a library's models, and the module whose adopt_() makes the library save them rightly.
# Whoever has such a model has imported the library.
_HOSTS = {
    ("transformers.modeling_utils", "PreTrainedModel"): "proxconnect.integrations.transformers.quantizer"
}


def tell_hosts(model: nn.Module) -> None:
    """Tell the library of each model inside of ``model`` that it has 1-bit weights."""
    for module in model.modules():
        for kind in type(module).__mro__:
            place = _HOSTS.get((kind.__module__, kind.__name__))
            if place is not None:
                import_module(place).adopt_(module)
