"""Binarization of the layers of a model, in place."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from proxconnect.base.hosts import tell_hosts
from proxconnect.errors import ProxConnectError
from proxconnect.layers._attachment import parametrize_
from proxconnect.layers._choice import Choice, ConfigMap, Filter, choose
from proxconnect.layers._fitness import fit_weight, refuse_sharded
from proxconnect.layers._fully_shard import Divided
from proxconnect.layers._hardened import forget
from proxconnect.layers._parametrization import BinaryWeight
from proxconnect.layers._reads import watch_reads_
from proxconnect.layers._scales import BINARY
from proxconnect.layers._tensors import rows_of, weight_names
from proxconnect.layers.binary_input import BinaryInput, binarize_input_, refuse_unfit_for_binary_input
from proxconnect.layers.config import BinarizeConfig
from proxconnect.layers.distance import warn_if_open

Model = TypeVar("Model", bound=nn.Module)


def binarize_(model: Model, config: BinarizeConfig | ConfigMap, filter_fn: Filter | None = None) -> Model:
    """Binarize the weights, and if ``config`` says so the activations, of ``model`` in place and return it.

    Each chosen layer gets :mod:`torch.nn.utils.parametrize` parametrizations: ``module.weight`` *is* the
    quantized weight ``alpha F(w*/s)``; the latent ``w*`` is ``module.parametrizations.weight.original``. With
    binary activations, the submodule ``input_quantizer`` of each chosen ``Linear``, ``Conv1d/2d/3d`` and
    ``ConvTranspose1d/2d/3d`` makes its input -1 and +1; other layers keep their activations. Where the model
    reads a layer's weight and never calls the layer, its input stays as it is: the first forward warns.

    Layers that can be binarized are ``Linear``, ``Conv1d/2d/3d``, ``ConvTranspose1d/2d/3d``, the ``Conv1D``
    of transformers (a linear layer), ``Embedding`` (an output channel is a row), ``MultiheadAttention`` (its
    input projections; its output projection is a ``Linear`` of its own), ``LSTM``, ``GRU``, ``RNN`` and their
    cells (all weight matrices). Layers that share a weight share its latent and its quantized value.

    A hardened layer can be binarized again, to train it further. Its weights become the latents; they are
    levels times scales already, so nothing else changes (``scale_dtype`` must hold the scales). Its learned
    thresholds stay.

    Warns if a forward quantizer does not approach its levels as ``mu`` grows: hardening would then change
    what the network has learned.

    Args:
        model: any module with such layers.
        config: the configuration of all chosen layers; or an ordered map
            ``{name or "re:pattern": BinarizeConfig or None}``, in which the first entry that fits a layer's
            whole name decides. A layer with None, or without an entry that fits, stays as it is.
        filter_fn: ``filter_fn(module, fqn) -> bool`` chooses among the layers above; by default every
            ``Linear``, ``Conv`` and ``ConvTranspose`` but the first layer in registration order, which may be
            an ``Embedding``, and the heads: the last such layer, those beside it, those that share an
            embedding's weight, and the last in each module that is called a head (the guide has the rule).
            ``Embedding``, ``MultiheadAttention`` and recurrent layers are chosen by filter or map alone.

    Raises:
        ProxConnectError: nothing is chosen, a pattern fits no layer, a chosen layer has latents already, its
            weight is not a finite float parameter, it shares its weight with a layer that is not chosen or
            is to be binarized otherwise, or its class cannot take binary activations. The model is then
            unchanged.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig(method="bc"))
    >>> model[1].weight[0].unique().numel()
    2
    >>> lstm = torch.nn.LSTM(8, 4)
    >>> lstm = pc.binarize_(lstm, pc.BinarizeConfig("pc", levels=(-1, 0, 1)), lambda module, name: True)
    >>> lstm.weight_hh_l0.shape
    torch.Size([16, 4])
    """
    divided = Divided(model)
    refuse_sharded(model, "call binarize_ before the model is sharded", divided.known())
    choice = choose(model, config, filter_fn)
    if divided:
        _refuse_new_parameters(choice)
    quantizers = _quantizers(model, choice)
    for name, verdict in choice.items():
        module = model.get_submodule(name)
        if isinstance(verdict, BinarizeConfig):
            forget(module)
            binarize_input_(module, verdict)
            parametrize_(module, quantizers[name])
            module.__dict__.pop("skipped_because", None)
        else:
            module.skipped_because = verdict  # type: ignore[assignment]
    divided.follow_()
    watch_reads_(model, BinaryInput)
    tell_hosts(model)
    configs = [verdict for verdict in choice.values() if isinstance(verdict, BinarizeConfig)]
    warn_if_open((config.pair, config.levels) for config in configs)
    warn_if_open((config.activation_pair, BINARY) for config in configs if config.activation_pair is not None)
    return model


def _quantizers(model: nn.Module, choice: Choice) -> dict[str, dict[str, BinaryWeight]]:
    """Make the quantizers of the chosen layers, by layer and tensor; a shared weight has one quantizer."""
    shared: dict[int, BinaryWeight] = {}
    quantizers: dict[str, dict[str, BinaryWeight]] = {}
    for name, config in choice.items():
        if not isinstance(config, BinarizeConfig):
            continue
        module = model.get_submodule(name)
        if config.activations is not None:
            refuse_unfit_for_binary_input(name, module)
        quantizers[name] = {}
        for tensor_name in weight_names(module):
            whole = fit_weight(name, module, tensor_name)
            rows = rows_of(module, whole.shape, config.group)
            weight = module._parameters[tensor_name]
            quantizer = shared.setdefault(id(weight), BinaryWeight(whole, config, rows))
            if quantizer.config != config or quantizer.rows != rows:
                raise ProxConnectError(
                    f"layer {name!r} shares its weight with one that is to be binarized otherwise; "
                    "binarize both alike"
                )
            quantizers[name][tensor_name] = quantizer
    _refuse_shared_with_others(model, choice, shared)
    return quantizers


def _refuse_new_parameters(choice: Choice) -> None:
    """Refuse parameters that ``fully_shard`` would not know, and whose gradients each process would keep."""
    for name, config in choice.items():
        if isinstance(config, BinarizeConfig) and (config.learn_scale or config.learn_thresholds):
            what = "learn_scale" if config.learn_scale else "learn_thresholds"
            raise ProxConnectError(
                f"{what}=True gives layer {name!r} a new parameter, and fully_shard has divided the model "
                "already: call binarize_ before fully_shard"
            )


def _refuse_shared_with_others(model: nn.Module, choice: Choice, shared: dict[int, BinaryWeight]) -> None:
    for name, module in model.named_modules():
        if isinstance(choice.get(name), BinarizeConfig):
            continue
        for tensor_name, parameter in module._parameters.items():
            if id(parameter) in shared:
                why = choice.get(name, "not binarizable")
                raise ProxConnectError(
                    f"the {tensor_name} of layer {name!r} is shared with a layer to be binarized, but this "
                    f"one is not chosen ({why}); choose both or neither"
                )
