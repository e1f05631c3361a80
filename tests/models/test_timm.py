"""Models ``timm:NAME``, by a module that stands in for timm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in_timm import stand_in_timm

import proxconnect as pc
from proxconnect.cli.app import run
from proxconnect.errors import MissingPackageError
from proxconnect.models import create_model, is_timm, model_options
from proxconnect.trainer import TrainConfig, read_checkpoint

SHORT = [
    "--data", "digits", "--epochs", "1", "--batch-size", "32", "--limit-train-batches", "2",
    "--limit-val-batches", "1",
]  # fmt: skip


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", stand_in_timm())


@pytest.mark.usefixtures("timm")
class TestStandIn:
    def test_classes_channels_and_size_are_those_of_the_data(self) -> None:
        plain = create_model("timm:convnet_small", classes=7, channels=1, image_size=(12, 9))
        assert plain(torch.zeros(2, 1, 12, 9)).shape == (2, 7)
        sized = create_model("timm:vit_tiny_patch4_8", classes=5, channels=3, image_size=(8, 6))
        assert sized(torch.zeros(2, 3, 8, 6)).shape == (2, 5)
        assert create_model("timm:vit_tiny_patch4_8", classes=5, image_size=8)(torch.zeros(2, 3, 8, 8)).shape
        assert model_options("timm:convnet_small") == {}

    def test_pretrained_weights_are_timms(self) -> None:
        model = create_model("timm:convnet_small.a1_in1k", classes=7, pretrained=True)
        assert bool((model[1].weight == 0.25).all())

    @pytest.mark.parametrize(
        ("name", "options", "words"),
        [
            ("timm:convnet_smal", {}, "no model 'convnet_smal'; did you mean 'timm:convnet_small'"),
            ("timm:", {}, r"no model ''\. timm.list_models\(\) lists all"),
            ("timm:hf-hub:someone/convnet_small", {}, "no model 'hf-hub:someone/convnet_small'"),
            ("timm:convnet_small.b2", {}, "cannot make .* Invalid pretrained tag"),
            ("timm:broken_net", {}, "for 3 classes and images of 8 x 9 with 1 channels: no layer goes here$"),
            ("timm:convnet_small", {"image_size": (2, 9)}, "images of 2 x 9 with 1 channels: .*Kernel size"),
            (
                "timm:convnet_small",
                {"pretrained": True},
                "with its pretrained weights .*: there is no network",
            ),
            ("timm:convnet_small", {"block": "basic"}, "takes no options, but got block"),
            ("resnet20", {"pretrained": True}, "'resnet20' has no pretrained weights"),
            ("vit-mini", {}, "takes square images, not 8x9"),
        ],
    )
    def test_refuses(self, name: str, options: dict[str, Any], words: str) -> None:
        with pytest.raises(pc.ProxConnectError, match=words):
            create_model(name, **{"classes": 3, "channels": 1, "image_size": (8, 9), **options})

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"model": "timm:convnet_smal"}, "did you mean 'timm:convnet_small'"),
            ({"model": "timm:convnet_small", "block": "basic"}, "has no block to choose"),
            ({"model": "resnet20", "pretrained": True}, "pretrained needs a model timm:NAME, not 'resnet20'"),
            (
                {"model": "timm:convnet_small", "pretrained": True, "init": "run"},
                "give either pretrained or init",
            ),
        ],
    )
    def test_a_run_refuses(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(pc.ProxConnectError, match=words):
            TrainConfig(data="digits", **options).resolved()

    def test_a_run_trains_resumes_and_packs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        train = ["train", *SHORT, "--model", "timm:convnet_small.a1_in1k", "--pretrained"]
        assert run([*train, "--method", "bc", "--lr", "1e-6"]) == 0
        out = tmp_path / "runs" / "timm-convnet_small.a1_in1k-bw-bc-s0"
        assert (out / "model.safetensors").is_file()
        weights = read_checkpoint(out).weights
        torch.testing.assert_close(weights["1.weight"], torch.full((8,), 0.25), atol=1e-4, rtol=0)
        assert read_checkpoint(out).build_model()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
        assert run(["train", "--resume", str(out), "--epochs", "2"]) == 0
        capsys.readouterr()
        assert run(["eval", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == 360

    def test_a_run_starts_from_another_of_timm(self, tmp_path: Path) -> None:
        one, two = tmp_path / "fp", tmp_path / "bw"
        fp = ["train", *SHORT, "--model", "timm:vit_tiny_patch4_8", "--setting", "fp", "--out", str(one)]
        assert run(fp) == 0
        assert run(["train", "--init", str(one), "--epochs", "0", "--out", str(two)]) == 0
        start, end = (read_checkpoint(folder).weights for folder in (one, two))
        assert torch.equal(end["3.parametrizations.weight.original"], start["3.weight"])

    def test_cells_of_a_grid_have_names_that_are_folders(self, tmp_path: Path) -> None:
        from proxconnect.experiments import read_grid

        file = tmp_path / "grid.toml"
        file.write_text(
            'title = "t"\n'
            '[[table]]\ntitle = "fp"\nregime = "fp"\nmodel = "timm:convnet_small"\n'
            '[[table]]\ntitle = "ft"\nregime = "ft"\nmodel = "timm:convnet_small"\nsetting = "bw"\n'
            'method = "bc"\nfull_precision = "{model}-fp-s{seed}"\n'
        )
        names = [cell.name for cell in read_grid(file).cells]
        assert names == ["timm-convnet_small-fp-s0", "timm-convnet_small-bw-ft-bc-s0"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, r'A model of timm needs the package timm, .*pip install "proxconnect\[timm\]"'),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "timm, which is installed .*nms"),
    ],
)
def test_a_timm_that_cannot_be_imported_is_one_line(
    code: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    if code is not None:
        monkeypatch.delitem(sys.modules, "timm")
        (tmp_path / "timm.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match=words):
        create_model("timm:resnet18", classes=3)
    assert is_timm("timm:resnet18")
    assert run(["train", "--data", "digits", "--model", "timm:resnet18", "--out", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("nowhere").exists()
