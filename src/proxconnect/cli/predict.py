"""``proxconnect predict``: the classes that a packed model sees in images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from proxconnect.cli._network import ZooOption, open_network
from proxconnect.data import find_pictures, prepare_image
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import class_scores

# Images of this number go through the network together.
_TOGETHER = 64


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[FILE] IMAGES...",
            help="Packed model or run folder (not with --zoo), then image files of any size, or folders of "
            "them.",
        ),
    ],
    zoo: ZooOption = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to print for each image.")] = 3,
    kernels: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Classify images, which are converted and resized as the packed file says.

    Of a folder, all pictures are classified, those in its folders too.
    """
    file, images = (paths[0], paths[1:]) if zoo is None else (None, paths)
    if not images:
        raise ProxConnectError(f"no image to classify; give image files or a folder behind {file}")
    network = open_network(file, zoo, kernels)
    if network.preprocessing is None:
        raise ProxConnectError(f"{file} does not say how to prepare images; save it with preprocessing=")
    answers, lines = [], []
    pictures = [picture for image in images for picture in find_pictures(image)]
    for first in range(0, len(pictures), _TOGETHER):
        some = pictures[first : first + _TOGETHER]
        inputs = torch.cat([prepare_image(picture, network.preprocessing) for picture in some])
        for picture, scores in zip(some, class_scores(network, inputs), strict=True):
            ranked = _ranked(scores, network.classes, top)
            lines.append(
                f"{picture}: " + "  ".join(f"{one['class']} {one['probability']:.1%}" for one in ranked)
            )
            answers.append({"image": str(picture), "predictions": ranked})
    if as_json:
        print(json.dumps(answers))
        return
    print("\n".join(lines))


def _ranked(scores: Tensor, names: Sequence[str] | None, top: int) -> list[dict[str, Any]]:
    probabilities, labels = scores.softmax(dim=0).topk(min(top, len(scores)))
    return [
        {"class": names[label] if names else str(label), "probability": probability}
        for probability, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
    ]
