"""Networks and packed models can be pickled and so go to other processes; other dtypes are refused."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine import PackedLayer
from proxconnect.errors import ProxConnectError


class Tokens(nn.Module):
    """Every kind of layer that reads its packed weight, two of which share one."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.attention = nn.Embedding(11, 16), nn.MultiheadAttention(16, 4, batch_first=True)
        self.lstm, self.conv = nn.LSTM(16, 16, batch_first=True), nn.Conv1d(16, 16, 3, padding=1)
        self.hidden, self.head = nn.Linear(16, 16), nn.Linear(16, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        x = self.lstm(x + self.attention(x, x, x, need_weights=False)[0])[0]
        return self.head(self.hidden(self.conv(x.transpose(1, 2)).transpose(1, 2)))


def images() -> nn.Module:
    hidden = nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, groups=2)
    return nn.Sequential(*hidden, nn.Flatten(), nn.Linear(64, 3))


TOKENS = torch.arange(21).view(3, 7) % 11
IMAGES = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "tokens": (Tokens, TOKENS, "bw"),
    "bw": (images, IMAGES, "bw"),
    "bwa": (images, IMAGES, "bwa"),
    "bwaa": (images, IMAGES, "bwaa"),
}


def binarized(name: str) -> tuple[nn.Module, Tensor]:
    build, x, setting = MODELS[name]
    torch.manual_seed(0)
    config = pc.BinarizeConfig.from_setting(setting)
    return pc.binarize_(build(), config, lambda module, name: True).eval(), x


def through_torch(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_torch]


@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_copies_and_pickles_compute_the_same(name: str, kernels: str, tmp_path: Path) -> None:
    model, x = binarized(name)
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", x), kernels=kernels)
    packed = pc.pack_(model, kernels=kernels)
    for form in (net, packed):
        expected = form(x)
        for copied in COPIES:
            twin = copied(form)
            assert torch.equal(twin(x), expected)
            assert [row.kernel for row in pc.summary(twin).layers] == [
                row.kernel for row in pc.summary(form).layers
            ]
            twin.load_state_dict(form.state_dict())
            assert torch.equal(twin(x), expected)
    twin = pickle.loads(pickle.dumps(packed))
    for one, other in zip(packed.modules(), twin.modules(), strict=True):
        assert type(one) is type(other)
    if name == "tokens":
        assert twin.words.packed.weight is twin.head.packed.weight


def test_a_pickle_holds_bits() -> None:
    layer = pc.binarize_(nn.Linear(1024, 1024), pc.BinarizeConfig("bc"), lambda module, name: True)
    assert len(pickle.dumps(pc.pack_(layer))) < 1024 * 1024 / 8 + 20_000


def test_networks_and_packed_models_work_in_spawned_processes(tmp_path: Path) -> None:
    model, x = binarized("bwa")
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", x))
    packed = pc.pack_(model).requires_grad_(False)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for form in (net, packed):
            assert torch.equal(pool.apply(form, (x,)), form(x))


@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("move", ["half", "double", "bfloat16"])
def test_a_network_refuses_another_dtype_at_once(move: str, kernels: str, tmp_path: Path) -> None:
    model, x = binarized("bw")
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", x), kernels=kernels)
    expected = net(x)
    with pytest.raises(ProxConnectError, match="computes in float32 and cannot be moved to torch"):
        getattr(net, move)()
    with pytest.raises(ProxConnectError, match=r"pc.load\(path, model=model\)"):
        net.to(torch.float16)
    assert torch.equal(net(x), expected)
    assert torch.equal(net.float().to("cpu")(x), expected)


def test_a_packed_layer_is_found_by_its_class() -> None:
    packed = pc.pack_(binarized("bwa")[0])
    assert (
        sum(isinstance(module, PackedLayer) for module in pickle.loads(pickle.dumps(packed)).modules()) == 3
    )
