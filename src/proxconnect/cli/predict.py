"""``proxconnect predict``: the classes that a packed model sees in images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from proxconnect.cli._network import ZooOption, open_network
from proxconnect.data import prepare_image
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import class_scores


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[FILE] IMAGES...", help="Packed model (not with --zoo), then image files of any size."
        ),
    ],
    zoo: ZooOption = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to print for each image.")] = 3,
    kernels: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Classify images, which are converted and resized as the packed file says."""
    file, images = (paths[0], paths[1:]) if zoo is None else (None, paths)
    if not images:
        raise ProxConnectError(f"no image to classify; give image files behind {file}")
    network = open_network(file, zoo, kernels)
    if network.preprocessing is None:
        raise ProxConnectError(f"{file} does not say how to prepare images; save it with preprocessing=")
    inputs = torch.cat([prepare_image(image, network.preprocessing) for image in images])
    probabilities = class_scores(network, inputs).softmax(dim=1)
    classes = network.classes or [str(index) for index in range(probabilities.shape[1])]
    answers = []
    for image, row in zip(images, probabilities, strict=True):
        best = row.topk(min(top, len(classes)))
        ranked = [
            {"class": classes[i], "probability": p}
            for p, i in zip(*map(torch.Tensor.tolist, best), strict=True)
        ]
        answers.append({"image": str(image), "predictions": ranked})
        if not as_json:
            print(f"{image}: " + "  ".join(f"{one['class']} {one['probability']:.1%}" for one in ranked))
    if as_json:
        print(json.dumps(answers))
