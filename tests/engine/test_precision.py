"""The levels of precision: each changes what it says, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.engine import Network
from proxconnect.engine._attention import bfloat16_attention, multiplies_integers
from proxconnect.engine.fusion import _float_rules
from proxconnect.errors import ProxConnectError
from proxconnect.models.nonlinearity import RPReLU


class Small(nn.Module):
    """A convolution of floats, a Bi-Real block, attention, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(3, 32, 4, 4, bias=False), nn.BatchNorm2d(32)
        self.conv, self.norm2, self.slope = nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), RPReLU(32)
        self.qkv, self.head = nn.Linear(32, 96), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm1(self.stem(x)))
        x = self.slope(self.norm2(self.conv(x)) + x).flatten(2).transpose(1, 2)
        heads = self.qkv(x).unflatten(2, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*heads.unbind(), scale=0.25)
        logits: Tensor = self.head(y.mean((1, 2)).repeat(1, 4))
        return logits


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for setting in ("bw", "bwa"):
        torch.manual_seed(0)
        model = Small().eval()
        model.norm1.running_mean.normal_()
        model.norm2.running_var.uniform_(50, 90)
        pc.binarize_(model, pc.BinarizeConfig.from_setting(setting), lambda _, name: name in ("conv", "qkv"))
        path = tmp_path_factory.mktemp("net") / f"{setting}.safetensors"
        found[setting] = pc.save(model, path, torch.zeros(1, 3, 32, 32))
    return found


@pytest.fixture(params=[True, False], ids=["bfloat16", "none"])
def bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Let the processor multiply bfloat16, or not."""
    monkeypatch.setattr(_float_rules, "multiplies_bfloat16", lambda: request.param)
    return request.param  # type: ignore[no-any-return]


def operators(net: Network) -> Counter[str]:
    return Counter(node.op for node in net._fused[net.graph.names].graph.nodes)


LEVELS = {"exact": "w1a32", "fast": "w1a8", "fastest": "w1a6"}


@pytest.mark.parametrize("setting", ["bw", "bwa"])
@pytest.mark.parametrize("precision", LEVELS)
@torch.inference_mode()
def test_a_level_changes_what_it_says(
    precision: str, setting: str, paths: dict[str, Path], bfloat16: bool
) -> None:
    net, reference = (
        pc.load(paths[setting], precision=precision),
        pc.load(paths[setting], kernels="reference"),
    )
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected, found = reference(x), net(x)
    exact, narrow = precision == "exact", bfloat16 and precision != "exact"
    assert net.kernels["qkv.weight"] == (LEVELS[precision] if setting == "bw" else "w1a1")
    assert operators(net)["proxconnect.attention"] == narrow
    integers = precision != "exact" and not bfloat16 and multiplies_integers()
    assert operators(net)["proxconnect.integer_attention"] == integers
    assert operators(net)["aten.batch_norm.default"] == 0
    nodes = net._fused[net.graph.names].graph.nodes
    chains = [node.args[0].chain.kinds for node in nodes if node.op == "proxconnect.chain"]
    (stem,) = (node.args[0] for node in nodes if node.op == "proxconnect.convolution")
    assert stem.patches == (setting == "bw" or not exact)  # signs depend on the other one
    # Of 1-bit inputs the first norm is a step before the ReLU, or folded; of floats RPReLU is a chain.
    assert [len(kinds) > 1 for kinds in chains] == [exact or setting == "bw"]
    bound = 1e-5 if exact else {"bw": 0.1, "bwa": 0.3}[setting]
    torch.testing.assert_close(found, expected, rtol=0, atol=bound * expected.abs().max().item())


def test_activations_are_the_finer_control(paths: dict[str, Path]) -> None:
    net = pc.load(paths["bw"], activations="int8", precision="fastest")
    assert net.kernels["qkv.weight"] == "w1a8"
    assert pc.load(paths["bw"], activations="int6").kernels["qkv.weight"] == "w1a6"


def test_a_model_of_the_users_own_follows_the_level(paths: dict[str, Path]) -> None:
    model = pc.load(paths["bw"], model=Small(), precision="fastest")
    kernels = {layer.name: layer.kernel for layer in pc.summary(model).layers}
    assert (kernels["qkv"], kernels["stem"]) == ("w1a6", "torch")


@torch.no_grad()
def test_a_network_in_bfloat16_compiles(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_float_rules, "multiplies_bfloat16", lambda: True)
    net, x = pc.load(paths["bw"], precision="fast"), torch.randn(2, 3, 32, 32)
    found = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
    expected = net(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fats"}, "precision"),
        ({"precision": "fast", "kernels": "reference"}, "kernels='fast'"),
    ],
)
def test_bad_levels_are_refused(arguments: dict[str, str], message: str, paths: dict[str, Path]) -> None:
    with pytest.raises(ProxConnectError, match=message):
        pc.load(paths["bw"], **arguments)


@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal"])
def test_attention_in_bfloat16_takes_the_arguments_of_torch(kind: str) -> None:
    query, key, value = torch.randn(3, 2, 4, 6, 8)
    mask = {"bool": torch.rand(6, 6) > 0.4, "float": torch.randn(6, 6)}.get(kind)
    if kind == "bool":
        mask[:, 0] = True
    arguments = (mask, 0.0, kind == "causal")
    expected = functional.scaled_dot_product_attention(query, key, value, *arguments, scale=0.5)
    found = bfloat16_attention(query, key, value, *arguments, scale=0.5)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
