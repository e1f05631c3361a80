"""The summary counts what is there, for every form of a model and for files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from looking import every
from torch import nn

import proxconnect as pc
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.summaries import Summary, summary


def model() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(128, 5),
    )
    return pc.binarize_(net, pc.BinarizeConfig(), lambda module, name: name == "2")


X = torch.zeros(3, 1, 8, 8)
FORMS: list[Callable[[], nn.Module]] = [model, lambda: pc.harden_(model()), lambda: pc.pack_(model())]


def check_counts(table: Summary) -> None:
    rows = {layer.name: layer for layer in table.layers}
    assert list(rows) == ["0", "1", "2", "4"]
    assert rows["2"].precision == "1 bit"
    assert rows["2"].shape == (8, 2, 3, 3)
    assert rows["2"].binary_parameters == 144
    assert rows["2"].bytes == 8 * 3 + 8 * 2
    assert rows["2"].bits_per_weight == 8 * 40 / 144
    assert rows["0"].precision == "32 bit"
    assert rows["0"].bytes == rows["0"].float32_bytes == 4 * (36 + 4)
    assert rows["1"].bytes == 4 * 16 + 8
    assert (table.binary_parameters, table.float_parameters) == (144, 40 + 8 + 645)
    assert table.binary_ratio == 576 / 40
    assert table.bytes == 40 + 160 + 72 + 4 * 645


def check_macs(table: Summary) -> None:
    macs = {layer.name: layer.macs for layer in table.layers}
    assert macs == {"0": 64 * 4 * 9, "1": None, "2": 16 * 8 * 18, "4": 640}
    assert table.macs(binary=True) == 2304
    assert table.macs(binary=False) == 2304 + 640


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_model_counts_the_same(form: Callable[[], nn.Module]) -> None:
    net = form().train()
    before = net[1].running_mean.clone()
    check_counts(summary(net))
    check_macs(summary(net, X))
    assert summary(net).macs(binary=True) is None
    assert net.training
    assert torch.equal(net[1].running_mean, before)


def test_a_file_and_its_network_count_the_same(tmp_path: Path) -> None:
    path = pc.save(model(), tmp_path / "m.safetensors", X)
    for table in (summary(path), summary(str(path), X), summary(pc.load(path))):
        check_counts(table)
        check_macs(table)
    table = summary(path)
    assert table.file_bytes == path.stat().st_size
    assert table.file_ratio == table.float32_bytes / path.stat().st_size


def test_a_file_without_a_graph_and_a_narrow_file(tmp_path: Path) -> None:
    table = summary(pc.save(model(), tmp_path / "weights.safetensors"))
    check_counts(table)
    assert table.macs(binary=False) is None
    narrow = summary(pc.save(model(), tmp_path / "narrow.safetensors", X, rest="int8"))
    rows = {layer.name: layer for layer in narrow.layers}
    assert rows["4"].bytes == 5 * 128 + 5 * 4 + 5 * 2
    assert rows["4"].float32_bytes == 4 * 645


def test_a_plain_model_has_nothing_binary() -> None:
    table = summary(nn.Sequential(nn.Linear(4, 2)))
    assert table.binary_ratio is None
    assert table.ratio == 1
    assert "0 of 10 (0.0%)" in str(table)


@pytest.mark.parametrize(
    ("inputs", "ratio"), [(144, 28), (147, 28), (500, 28), (768, 31), (769, 31), (2304, 31)]
)
def test_binarized_layers_shrink_as_promised(inputs: int, ratio: float) -> None:
    layer = pc.binarize_(nn.Linear(inputs, 7, bias=False), pc.BinarizeConfig(), lambda module, name: True)
    packed = pc.pack_(layer)
    stored = sum(tensor.nbytes for tensor in packed.state_dict().values())
    assert stored * ratio <= 4 * 7 * inputs
    assert summary(packed).bytes == stored


def test_the_promised_ratios_hold_for_every_size_but_three() -> None:
    def too_large(inputs: int, ratio: int) -> bool:
        return (packed_width(inputs) + 2) * ratio > 4 * inputs

    # A row is padded to a byte: just after a multiple of 8 that costs most.
    assert [n for n in range(144, 5000) if too_large(n, 28)] == [145, 146, 153]
    assert every(not too_large(n, 31) for n in range(768, 5000))


def test_tied_weights_count_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    table = summary(net, torch.zeros(1, 4))
    assert [layer.float_parameters for layer in table.layers] == [16, 0]
    assert table.macs(binary=False) == 32
    for form in (pc.binarize_(net, pc.BinarizeConfig("bc"), lambda module, name: True), pc.pack_(net)):
        table = summary(form, torch.zeros(1, 4))
        assert [(layer.precision, layer.binary_parameters) for layer in table.layers] == [
            ("1 bit", 16),
            ("1 bit", 0),
        ]
        assert (table.binary_parameters, table.macs(binary=True), table.macs(binary=False)) == (16, 32, 0)


def test_the_table_is_aligned_and_the_dict_is_json() -> None:
    table = summary(model(), X)
    lines = str(table).splitlines()
    head = lines[2]
    assert head.split() == [
        "layer",
        "kind",
        "shape",
        "precision",
        "parameters",
        "bits/weight",
        "bytes",
        "1-bit",
        "MACs",
        "32-bit",
        "MACs",
        "kernel",
        "skipped",
        "mu",
        "level",
        "distance",
    ]
    end = head.index("parameters") + len("parameters")
    assert [line[:end].split()[-1] for line in lines[4:8]] == ["40", "8", "144", "645"]
    assert "binarized weights   14.4x smaller" in str(table)
    fields = json.loads(json.dumps(table.to_dict()))
    assert fields["layers"][2]["precision"] == "1 bit"
    assert fields["macs_1bit"] == 2304


def test_what_is_neither_model_nor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProxConnectError, match="takes a model or the path"):
        summary(3)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="cannot be read"):
        summary(tmp_path / "none.safetensors")


def test_what_is_left_to_torch_is_listed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 2))
    path = pc.save(pc.binarize_(net, pc.BinarizeConfig()), tmp_path / "m.safetensors", torch.zeros(2, 8))
    table = summary(path)
    rows = {row.operator: row for row in table.unfused}
    assert {name: (row.calls, row.reason) for name, row in rows.items()} == {
        "silu": (2, "no kernel computes it"),
        "linear": (2, "its weights are floats"),
    }
    assert every(0 < row.share < 1 for row in table.unfused)
    assert sum(row.share for row in table.unfused) < 1
    assert [row["operator"] for row in table.to_dict()["unfused"]] == [row.operator for row in table.unfused]
    assert "no kernel computes it" in str(table)
    assert summary(pc.load(path, kernels="reference")).unfused == ()
    assert summary(net).unfused == ()
