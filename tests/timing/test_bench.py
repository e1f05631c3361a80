"""pc.bench: the float twin computes the same architecture, and the figures hang together."""

from __future__ import annotations

import builtins
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.cli.app import run
from proxconnect.errors import MissingPackageError, ProxConnectError
from proxconnect.timing import _bench
from proxconnect.timing._float_twin import FloatTwin


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)
        self.hidden, self.head = nn.Linear(16, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(functional.relu(self.stem(x)))).mean((2, 3))
        logits: Tensor = self.head(self.hidden(x))
        return logits


def saved(path: Path, setting: str, **values: object) -> Path:
    torch.manual_seed(0)
    config = pc.BinarizeConfig.from_setting(setting, **values)
    model = pc.binarize_(Small().eval(), config, lambda _, name: name in ("conv", "hidden"))
    return pc.save(model, path / f"{setting}.safetensors", torch.zeros(1, 3, 12, 12))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("bw", {}),
        ("bwa", {"learn_thresholds": True}),
        ("bwaa", {}),
        ("bwaa", {"overflow": "saturate", "accumulator_bits": 5}),
    ],
)
def test_the_twin_is_the_architecture_with_float_arithmetic(
    setting: str, values: dict[str, object], tmp_path: Path
) -> None:
    net = pc.load(saved(tmp_path, setting, **values))
    plain = Small().eval()
    plain.load_state_dict({name: net._lookup(name) for name in net._owners}, strict=False)
    twin, x = FloatTwin(net), torch.randn(2, 3, 12, 12)
    operators = Counter(node.op for node in twin._interpreter.graph.nodes)
    assert not {"aten.sign.default", "aten.round.default", "aten.amax.default"} & operators.keys()
    if "learn_thresholds" not in values:
        torch.testing.assert_close(twin(x), plain(x))


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the process that measures memory: it takes seconds to start."""
    monkeypatch.setattr(_bench, "resident_bytes", lambda *arguments: None)


@pytest.mark.full  # the example of pc.bench runs the same in make test
def test_a_bench_has_figures_that_hang_together(tmp_path: Path) -> None:
    path = saved(tmp_path, "bwa")
    found = pc.bench(path, batch=2, threads=1, rounds=3)
    assert [row.name for row in found.contenders] == ["packed", "torch", "torch channels_last"]
    for row in found.contenders:
        assert row.seconds[1] <= row.seconds[0] <= row.seconds[2]
        assert row.throughput == pytest.approx(2 / row.seconds[0])
    assert found.contenders[0].times_packed == (1, 1, 1)
    assert sum(row.share for row in found.operators) == pytest.approx(1)
    assert {row.operator for row in found.operators if row.one_bit} == {"pack", "product"}
    assert 0 < found.one_bit_share < 1
    assert found.resident_bytes is None or found.resident_bytes > 2**20
    assert "kernels of 1-bit weights" in str(found)
    found.plot(tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_memory")
def test_the_command_prints_json_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(saved(tmp_path, "bw")), "--rounds", "2", "--precision", "fast", "--json"]
    assert run([*arguments, "--plot", str(tmp_path / "bench.svg")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["precision"], found["batch"], found["rounds"]) == ("fast", 1, 2)
    assert (tmp_path / "bench.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch must be a whole number of at least 1, not 0"),
        ({"rounds": 1.5}, "rounds must be"),
        ({"threads": True}, "threads must be"),
        ({"vs": ["onxruntime"]}, "onnxruntime"),
        ({"precision": "best"}, "precision"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ProxConnectError, match=message):
        pc.bench(saved(tmp_path, "bw"), **arguments)


@pytest.mark.usefixtures("no_memory")
def test_sizes_that_vary_need_examples(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    varying = {1: "length"}
    model = pc.binarize_(nn.Linear(8, 8), pc.BinarizeConfig("bc"), lambda _, name: True)
    pc.save(model, path, torch.zeros(2, 5, 8), dynamic=varying)
    with pytest.raises(ProxConnectError, match="example_inputs"):
        pc.bench(path)
    assert pc.bench(path, torch.zeros(3, 7, 8), rounds=2).batch == 3


def test_an_engine_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "openvino":
            raise ModuleNotFoundError(name=name)
        return whole(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"openvino.*proxconnect\[bench\]"):
        pc.bench(tmp_path / "any.safetensors", vs=["openvino"])


@pytest.mark.usefixtures("no_memory")
def test_other_engines_run_the_same_architecture(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    found = pc.bench(saved(tmp_path, "bwa"), rounds=2, vs=["onnxruntime", "openvino"])
    names = [row.name for row in found.contenders[3:]]
    assert names == [
        f"{engine} {kind}" for engine in ("onnxruntime", "openvino") for kind in ("float32", "int8")
    ]
