"""Measure the size of packed files, and the accuracy that a narrower rest costs.

    python benchmarks/file_sizes.py --data FOLDER

The sizes are those of freshly initialised networks with their graphs. The accuracies are those of the models
of the zoo with 1-bit weights on validation images, each written again with every rest. The script writes
``docs/results/data/file_sizes.json`` and the page ``docs/results/file_sizes.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _results import write_results
from torch import nn

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.data import load_data
from proxconnect.engine import Network
from proxconnect.format import PackedFile, decode, encode, read, stored_dtypes
from proxconnect.format.header import FORMAT_VERSION, REST
from proxconnect.models import create_model
from proxconnect.packing._store import stored
from proxconnect.trainer import evaluate_split


class Case(NamedTuple):
    """A network with its image size and classes, and whether its first and last layer are binary too."""

    model: str
    image_size: int
    classes: int
    ends: bool = False

    @property
    def name(self) -> str:
        return f"{self.model}, first and last layer binary" if self.ends else self.model


CASES = (
    Case("resnet20", 32, 10),
    Case("resnet18", 224, 1000),
    Case("resnet50", 224, 1000),
    Case("deit-base", 224, 1000),
    Case("deit-base", 224, 1000, ends=True),
)


def every_layer(module: nn.Module, name: str) -> bool:
    """Choose all layers that can be binarized."""
    return isinstance(module, nn.Linear | nn.Conv2d)


def sizes(case: Case) -> dict[str, Any]:
    """Measure the bytes of all parameters in float32, and of the file with each rest."""
    torch.manual_seed(0)
    model = create_model(case.model, classes=case.classes, image_size=case.image_size).eval()
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    config = pc.BinarizeConfig.from_setting("bw")
    pc.binarize_(model, config, every_layer if case.ends else None)
    image = torch.zeros(1, 3, case.image_size, case.image_size)
    with tempfile.TemporaryDirectory() as folder:
        files = {rest: pc.save(model, Path(folder) / rest, image, rest=rest) for rest in REST}
        found = {"float32 parameters": parameters}
        found |= {rest: file.stat().st_size for rest, file in files.items()}
    print(case.name, found, flush=True)
    return found


def accuracies(name: str, data: str) -> dict[str, float]:
    """Measure the accuracy of a model of the zoo, stored with each rest."""
    packed = read(Path(pc.zoo.__file__).with_name(f"{name}.safetensors"))
    found = {}
    for rest in REST:
        header = replace(packed.header, rest=rest, version=FORMAT_VERSION)
        tensors = dict(packed.tensors)
        for tensor in header.dense:
            tensors |= stored(tensor, packed.dense(tensor), stored_dtypes(header, tensor))
        network = Network(decode(encode(PackedFile(header, tensors))))
        found[rest] = evaluate_split(network, data, "val").accuracy
    print(name, found, flush=True)
    return found


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    rows = []
    for name, found in result["sizes"].items():
        whole = found["float32 parameters"]
        cells = [f"{found[rest]:,} ({whole / found[rest]:.1f}x)" for rest in REST]
        rows.append([name, f"{whole:,}", *cells])
    columns = tuple(f'rest="{rest}"' for rest in REST)
    lines = [
        "# Sizes of packed files",
        "",
        "Bytes of whole files with 1-bit weights, graph and header included, and how many times smaller that "
        "is than the parameters in float32. The first and the last layer stay in full precision unless the "
        "row says otherwise. Everything that is not binary follows `rest`. `benchmarks/file_sizes.py` makes "
        "this page.",
        "",
        Table(("network", "float32", *columns), rows, numbers=("float32", *columns)).markdown(),
        "",
        f"Accuracy of the models of the zoo with each rest, on {result['images']:,} validation images of "
        f"{result['data']}. One image is {100 / result['images']:.2g} points. The accuracy that a binary "
        "first and last layer costs is not measured here.",
        "",
        Table(
            ("model", *columns),
            [
                [f"`{name}`", *(f"{found[rest]:.2%}" for rest in REST)]
                for name, found in result["accuracies"].items()
            ],
        ).markdown(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    data = parser.parse_args().data
    models = [name for name in pc.zoo.list() if pc.zoo.card(name).setting == "bw"]
    result = {
        "data": "CIFAR-10 (JPEG copy)",
        "images": len(load_data(data).val),
        "accuracies": {name: accuracies(name, data) for name in models},
        "sizes": {case.name: sizes(case) for case in CASES},
    }
    write_results("file_sizes", result, page)


if __name__ == "__main__":
    main()
