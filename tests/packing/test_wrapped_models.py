"""Files of wrapped models and of weights that are computed from others hold the model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from looking import every
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import proxconnect as pc
from proxconnect.errors import ExportError, ProxConnectError


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def binarized(build: Callable[[], nn.Module] = plain) -> nn.Module:
    return pc.binarize_(build(), pc.BinarizeConfig("bnn++"), lambda module, name: name.endswith("1"))


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled_part(model: nn.Module) -> nn.Module:
    model[1] = torch.compile(model[1])
    return model


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile()
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DDP": nn.parallel.DistributedDataParallel,
    "DataParallel": nn.DataParallel,
    "torch.compile": torch.compile,
    "module.compile": compiled_in_place,
    "part": compiled_part,
    "both": lambda model: torch.compile(nn.parallel.DistributedDataParallel(compiled_part(model))),
}


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_model_gives_the_file_of_the_model_itself(name: str, tmp_path: Path) -> None:
    expected = pc.save(binarized(), tmp_path / "plain.safetensors", torch.zeros(1, 8))
    wrapped = WRAPPERS[name](binarized())
    path = pc.save(wrapped, tmp_path / "wrapped.safetensors", torch.zeros(1, 8))
    assert path.read_bytes() == expected.read_bytes()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", ["DDP", "torch.compile"])
def test_weights_load_into_the_model_inside_of_a_wrapper(name: str, tmp_path: Path) -> None:
    path, x = pc.save(binarized(), tmp_path / "m.safetensors"), torch.randn(3, 8)
    model = WRAPPERS[name](plain().apply(lambda module: module.requires_grad_(name == "DDP")))
    loaded = pc.load(path, kernels="reference", model=model)
    assert loaded is model
    inside = loaded.module if name == "DDP" else loaded._orig_mod
    assert torch.equal(inside(x), pc.harden_(binarized())(x))


def fsdp1(model: nn.Module) -> nn.Module:
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)


def fsdp2(model: nn.Module) -> nn.Module:
    return fully_shard(model, mesh=init_device_mesh("cpu", (1,)))


def fsdp2_part(model: nn.Module) -> nn.Module:
    fully_shard(model[1], mesh=init_device_mesh("cpu", (1,)))
    return model


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("shard", [fsdp1, fsdp2, fsdp2_part])
@pytest.mark.filterwarnings("ignore:FSDP:UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_sharded_model_is_refused_with_the_way_out(
    shard: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    path = pc.save(binarized(), tmp_path / "m.safetensors")
    sharded = shard(binarized())
    with pytest.raises(
        ProxConnectError, match=r"in several processes .*: gather them with .*get_model_state_dict"
    ):
        pc.save(sharded, tmp_path / "n.safetensors", torch.zeros(1, 8))
    with pytest.raises(ProxConnectError, match=r"in several processes .*: load the file before"):
        pc.load(path, model=sharded)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix) == ["m.safetensors"]


@pytest.mark.usefixtures("one_process")
def test_the_way_out_of_a_sharded_model(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    sharded = fsdp2(binarized())
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    whole = pc.binarize_(
        plain().apply(nn.Module.float), pc.BinarizeConfig("bnn++"), lambda m, name: name == "1"
    )
    whole.load_state_dict(get_model_state_dict(sharded, options=options))
    paths = [pc.save(model, tmp_path / f"{i}.safetensors") for i, model in enumerate((whole, binarized()))]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def pruned(layer: nn.Linear) -> nn.Linear:
    return prune.l1_unstructured(layer, "weight", 0.5)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def doubled(layer: nn.Linear) -> nn.Linear:
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


COMPUTED: dict[str, Callable[[nn.Linear], nn.Linear]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": doubled,
    "weight_norm hook": weight_norm,
    "spectral_norm hook": spectral_norm,
    "pruned": pruned,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_beside_binary_ones_are_saved_as_they_are(name: str, tmp_path: Path) -> None:
    def build() -> nn.Module:
        model = plain()
        COMPUTED[name](model[0])
        model(torch.ones(2, 8))
        return model

    model, x = binarized(build), torch.randn(3, 8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 8))
    assert before.keys() == model.state_dict().keys()
    assert every(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    expected = pc.harden_(model).eval()(x)
    assert torch.equal(pc.load(path, kernels="reference")(x), expected)
    for other in (build(), plain()):
        assert torch.equal(pc.load(path, kernels="reference", model=other)(x), expected)


def test_autocast_inside_of_the_forward_is_named(tmp_path: Path) -> None:
    model = binarized()
    inner = copy.copy(model.forward)
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(inner)
    with pytest.raises(ExportError, match=r"computes under autocast.*keep_fp32_wrapper=False"):
        pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 8))
