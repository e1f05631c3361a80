"""Measure the accuracy that activations of 8 and 6 bits cost a packed network.

    python benchmarks/activation_bits.py --data FOLDER

The script measures the validation accuracy of every model of the zoo whose binary layers have float inputs:
as packed, with ``activations="int8"`` and with ``activations="int6"``. It writes
``docs/results/data/activation_bits.json`` and the table ``docs/results/activation_bits.md``.
"""

from __future__ import annotations

import argparse
from typing import Any

from _results import write_results
from _rounds import machine

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.trainer import evaluate_split

ACTIVATIONS = (None, "int8", "int6")


def measure(model: str, data: str) -> dict[str, Any]:
    """Measure accuracy of one model with each kind of activations, and name its kernels."""
    found = {}
    for activations in ACTIVATIONS:
        network = pc.zoo.load(model, activations=activations)
        found[activations or "float32"] = {
            "accuracy": evaluate_split(network, data, "val").accuracy,
            "kernels": sorted(set(network.kernels.values())),
        }
    print(model, found, flush=True)
    return found


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    text = (
        f"{result['data']}, {result['images']:,} validation images; {result['machine']}. The table shows "
        "the models of the zoo with 1-bit weights. Their binary layers have float inputs, as packed or "
        "quantized on the way. `int8` quantizes to 8 bits. `int6` quantizes to 6 bits in linear layers and "
        "to 8 in convolutions, so it is left out for models without linear layers. One image is "
        f"{100 / result['images']:.2g} points. [Products](kernels.md) and [networks](models.md) say what "
        "the kernels gain. `benchmarks/activation_bits.py` makes this page."
    )
    rows = []
    for model, found in result["models"].items():
        exact = found["float32"]["accuracy"]
        for activations, values in found.items():
            if activations == "int6" and values["kernels"] == found["int8"]["kernels"]:
                continue
            cost = "" if activations == "float32" else f"{100 * (values['accuracy'] - exact):+.2f}"
            kernels = ", ".join(f"`{kernel}`" for kernel in values["kernels"])
            rows.append([f"`{model}`", activations, kernels, f"{values['accuracy']:.2%}", cost])
    columns = ("model", "activations", "kernels", "accuracy", "against float32, points")
    lines = ["# Activations of fewer bits", "", text, "", Table(columns, rows).markdown()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    data = parser.parse_args().data
    models = [model for model in pc.zoo.list() if pc.zoo.card(model).setting == "bw"]
    images = evaluate_split(pc.zoo.load(models[0]), data, "val").images
    result = {
        "machine": machine(),
        "data": pc.zoo.card(models[0]).data,
        "images": images,
        "models": {model: measure(model, data) for model in models},
    }
    write_results("activation_bits", result, page)


if __name__ == "__main__":
    main()
