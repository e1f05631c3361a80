"""The folder that holds ``<name>.safetensors`` and ``<name>.json`` for each model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from proxconnect.engine import EXACT, Network
from proxconnect.errors import FormatError, ProxConnectError, unknown_name
from proxconnect.packing import load as load_file

_SHELF = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """A model of the zoo: its training, its size and its accuracy.

    Args:
        model: name of the architecture.
        setting: ``bw``, ``bwa`` or ``bwaa``.
        method: name of the method that binarized the weights.
        data: name of the data set of training and evaluation.
        protocol: the training in one sentence.
        accuracy: share of right answers on the test split, from 0 to 1.
        images: number of images of the test split.
        validation_accuracy: share of right answers on the validation images, from 0 to 1.
        bytes: size of the packed file, in bytes.
        recipe: the grid file and cell, or the command, that trains the model.
        commit: commit of the code that trained the model.
        evaluated: machine, threads and versions with which ``accuracy`` was measured.
    """

    model: str
    setting: str
    method: str
    data: str
    protocol: str
    accuracy: float
    images: int
    validation_accuracy: float
    bytes: int
    recipe: str
    commit: str
    evaluated: dict[str, Any]

    def to_json(self) -> str:
        """Write the card as the JSON that lies beside its model."""
        return json.dumps(asdict(self), indent=2) + "\n"


def names() -> list[str]:
    """List the models that ship with this release.

    >>> import proxconnect as pc
    >>> "resnet20-cifar10-bw" in pc.zoo.list()
    True
    """
    return sorted(path.stem for path in _SHELF.glob("*.json"))


def load(name: str, kernels: str = "fast", activations: str | None = None, precision: str = EXACT) -> Network:
    """Load the network ``name``, in eval mode.

    Args:
        name: one of :func:`proxconnect.zoo.list`.
        kernels: as for :func:`proxconnect.load`.
        activations: as for :func:`proxconnect.load`.
        precision: as for :func:`proxconnect.load`.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches), or another argument is.

    >>> import proxconnect as pc, torch
    >>> pc.zoo.load("resnet20-cifar10-bw")(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    path = _known(name).with_suffix(".safetensors")
    return load_file(path, kernels=kernels, activations=activations, precision=precision)


def card(name: str) -> Card:
    """Read the card of the model ``name``.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches).
        FormatError: the card is damaged.

    >>> import proxconnect as pc
    >>> pc.zoo.card("resnet20-cifar10-bw").setting
    'bw'
    """
    path = _known(name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Card(**{field.name: values[field.name] for field in fields(Card)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} is not a card of the zoo ({error!r}); install the package again"
        ) from error


def _known(name: str) -> Path:
    known = names()
    if name not in known:
        raise ProxConnectError(unknown_name("model of the zoo", name, known))
    return _SHELF / f"{name}.json"
