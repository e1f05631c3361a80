"""The ImageNet grid from end to end, on a small folder of the same form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from looking import every
from PIL import Image

from proxconnect.cli.app import run

RECIPE = Path(__file__).parents[2] / "recipes" / "imagenet.toml"


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of JPEG files of several sizes, in train, val and test."""
    monkeypatch.setenv("PROXCONNECT_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("n01440764", "n01443537"):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (140 + 20 * index, 200, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}_{index}.JPEG")
    return tmp_path / "imagenet"


@pytest.mark.full
def test_the_grid_runs_on_a_folder_of_the_same_form(imagenet: Path, tmp_path: Path) -> None:
    text = RECIPE.read_text()
    smaller = {
        '["resnet18", "resnet50"]': '"resnet18"',
        '["deit-tiny", "deit-small", "deit-base"]': '"deit-tiny"',
        '["bc", "bnn+", "bnn++"]': '"bnn++"',
        "batch_size = 256": "batch_size = 4",
        "image_size = 224": "image_size = 128",
        **{f"epochs = {epochs}": "epochs = 1" for epochs in (50, 90, 300)},
    }
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    # ResNet-50 takes longest and shows nothing that the others do not.
    first = text.index('[[table]]\ntitle = "ResNet-50 with')
    text = text[:first] + text[text.index('[[table]]\ntitle = "Vision transformers in') :]
    recipe = tmp_path / "small.toml"
    recipe.write_text(text)
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    command = ["grid", str(recipe), "--data", str(imagenet), *places]
    assert run(command) == 0
    assert run([*command, "--test"]) == 0
    cells = json.loads((tmp_path / "results" / "data" / "small.json").read_text())["cells"]
    assert list(cells) == [
        "resnet18-fp-s0",
        "resnet18-bw-ft-bnn++-s0",
        "resnet18-bireal-fp-s0",
        "resnet18-bwa-ft-bnn++-s0",
        "deit-tiny-fp-s0",
        "deit-tiny-bw-ft-bnn++-s0",
        "deit-tiny-bwa-ft-bnn++-s0",
    ]
    assert every(cell["record"]["test"]["images"] == 4 for cell in cells.values())
    sizes = [cells[name]["record"]["bytes"] for name in ("resnet18-fp-s0", "resnet18-bw-ft-bnn++-s0")]
    assert sizes[0] > 20 * sizes[1]
