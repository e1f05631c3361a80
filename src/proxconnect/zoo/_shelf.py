"""The folder that holds ``<name>.safetensors`` and ``<name>.json`` for each model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from proxconnect.engine import Network
from proxconnect.errors import FormatError, ProxConnectError, unknown_name
from proxconnect.io import load as load_file

_SHELF = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """Where a model of the zoo is from, and what it can do.

    Args:
        model: name of the architecture.
        setting: ``bw``, ``bwa`` or ``bwaa``.
        method: what binarized the weights.
        data: what it was trained and evaluated on.
        protocol: how it was trained, in a sentence.
        accuracy: share of right answers on the test split.
        images: images of the test split.
        validation_accuracy: the same on the validation images.
        bytes: size of the packed file.
        recipe: the grid file and cell, or the command, that trains it.
        commit: of the code that trained it.
        evaluated: machine, threads and versions that measured ``accuracy``.
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
        """As the card lies beside its model."""
        return json.dumps(asdict(self), indent=2) + "\n"


def names() -> list[str]:
    """Names of the models that ship with this release.

    >>> import proxconnect as pc
    >>> "resnet20-cifar10-bw" in pc.zoo.list()
    True
    """
    return sorted(path.stem for path in _SHELF.glob("*.json"))


def load(name: str, kernels: str = "fast", activations: str | None = None) -> Network:
    """The network ``name``, in eval mode.

    Args:
        name: one of :func:`proxconnect.zoo.list`.
        kernels: as for :func:`proxconnect.load`.
        activations: likewise.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches), or another argument.

    >>> import proxconnect as pc, torch
    >>> pc.zoo.load("resnet20-cifar10-bw")(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    return load_file(_known(name).with_suffix(".safetensors"), kernels=kernels, activations=activations)


def card(name: str) -> Card:
    """The card of the model ``name``.

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
        return Card(**{each.name: values[each.name] for each in fields(Card)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} is not a card of the zoo ({error!r}); install the package again"
        ) from error


def _known(name: str) -> Path:
    known = names()
    if name not in known:
        raise ProxConnectError(unknown_name("model of the zoo", name, known))
    return _SHELF / f"{name}.json"
