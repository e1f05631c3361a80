"""Layers whose weights cannot become latents: each is named, with what it is and the way out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations, parametrize, prune

import proxconnect as pc
from proxconnect.layers import binarized_weights


class Half(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def halved(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Half())
    return layer


def integers(layer: nn.Module) -> nn.Module:
    layer.weight = nn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    return layer


DRESSES: list[tuple[Callable[[nn.Module], nn.Module], str, str | None]] = [
    (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "pruned", "prune.remove"),
    (parametrizations.weight_norm, "weight norm", "parametrize.remove_parametrizations"),
    (parametrizations.spectral_norm, "spectral norm", "parametrize.remove_parametrizations"),
    (parametrizations.orthogonal, "Orthogonal", "parametrize.remove_parametrizations"),
    (halved, "Half", "parametrize.remove_parametrizations"),
    (nn.utils.spectral_norm, "spectral norm", "remove_spectral_norm"),
    pytest.param(
        nn.utils.weight_norm,
        "weight norm",
        "remove_weight_norm",
        marks=pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated"),
    ),
    (integers, "its weight is Parameter, torch.int8", None),
]


def layers(dress: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), dress(nn.Linear(8, 8)), nn.Linear(8, 8), nn.Linear(8, 8))


@pytest.mark.parametrize(("dress", "what", "way_out"), DRESSES)
def test_the_default_leaves_it_as_it_is_and_says_so(dress: object, what: str, way_out: str | None) -> None:
    with pytest.warns(UserWarning, match=rf"leaves layers as they are: '1' \({what}") as caught:
        model = pc.binarize_(layers(dress), pc.BinarizeConfig("bc"))  # type: ignore[arg-type]
    assert __file__ in {warning.filename for warning in caught}
    assert [found.name for found in binarized_weights(model)] == ["2.weight"]
    (skipped,) = [layer.skipped for layer in pc.summary(model).layers if layer.name == "1"]
    assert skipped.startswith(what)
    assert way_out is None or way_out in skipped


@pytest.mark.parametrize(("dress", "what", "way_out"), DRESSES)
def test_a_chosen_one_is_refused_and_the_way_out_works(dress: object, what: str, way_out: str | None) -> None:
    model = layers(dress)  # type: ignore[arg-type]
    before = list(model.state_dict())
    expected = f"layer '1' is not a plain parameter \\({what}" if way_out else "must be a float parameter"
    with pytest.raises(pc.ProxConnectError, match=expected) as error:
        pc.binarize_(model, pc.BinarizeConfig("bc"), lambda module, name: name in ("1", "2"))
    assert list(model.state_dict()) == before
    if way_out is None:
        return
    call = str(error.value).partition("call ")[2].rpartition(", then binarize")[0]
    assert way_out in call
    exec(call, {"torch": torch, "layer": model[1]})
    pc.binarize_(model, pc.BinarizeConfig("bc"), lambda module, name: name in ("1", "2"))
    assert [found.name for found in binarized_weights(model)] == ["1.weight", "2.weight"]


def test_recurrent_layers_name_the_tensor() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.LSTM(4, 4), "weight_hh_l0"))
    with pytest.raises(pc.ProxConnectError, match="the weight_hh_l0 of layer '0' is not a plain parameter"):
        pc.binarize_(model, pc.BinarizeConfig("bc"), lambda module, name: True)


def test_weights_without_values_are_refused_with_the_reason() -> None:
    with torch.device("meta"):
        model = layers(lambda layer: layer)
    with pytest.raises(pc.ProxConnectError, match="layer '1' is on the meta device, without values: load"):
        pc.binarize_(model, pc.BinarizeConfig("bnn++"))
    with FakeTensorMode():
        model = layers(lambda layer: layer)
        with pytest.raises(pc.ProxConnectError, match="layer '1' is a FakeTensor, which has no values"):
            pc.binarize_(model, pc.BinarizeConfig("bnn++"))


class DTensor(torch.Tensor):
    """Stands for torch's, which needs a process group."""


class FullyShardedDataParallel(nn.Module):
    """Stands for torch's, which needs a process group."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


def test_sharded_models_are_refused() -> None:
    model = layers(lambda layer: layer)
    model[1].weight = nn.Parameter(model[1].weight.detach().as_subclass(DTensor))
    with pytest.raises(
        pc.ProxConnectError,
        match=r"'1.weight' of the model lie in parts .*\(DTensor\): call binarize_ before",
    ):
        pc.binarize_(model, pc.BinarizeConfig("bnn++"))
    wrapped = nn.Sequential(FullyShardedDataParallel(layers(lambda layer: layer)))
    with pytest.raises(
        pc.ProxConnectError, match=r"'0' of the model lie in parts .*FullyShardedDataParallel"
    ):
        pc.binarize_(wrapped, pc.BinarizeConfig("bnn++"))


def test_the_default_device_and_dtype_do_not_matter() -> None:
    model, x = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))), torch.randn(2, 8)
    config = pc.BinarizeConfig.from_setting("bwa", learn_thresholds=True)
    ternary = pc.BinarizeConfig("pc", levels=(-3, 0, 1), scale=3)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            pc.binarize_(model, {"0": config, "1": ternary})
            output = pc.harden_(model)(x)
    finally:
        torch.set_default_dtype(before)
    assert (output.device.type, output.dtype) == ("cpu", torch.float32)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
