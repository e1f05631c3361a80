"""Choice of the images to validate on, where a source has none of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import DataError


def last_tenth(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the rows to train on and a tenth to validate on, each in ascending order.

    The tenth is the last one, or if the rows are sorted by class a fixed random one of each class.

    Raises:
        DataError: there is one row only.
    """
    count = len(labels)
    if count < 2:
        raise DataError("the set holds one image; expected at least two, one to train and one to validate on")
    validating = torch.zeros(count, dtype=torch.bool, device="cpu")
    if bool((labels.diff() >= 0).all()):
        order = _order(count)
        for label in set(labels.tolist()):
            members = order[labels[order] == label]
            validating[members[: len(members) // 10]] = True
        if not validating.any():
            validating[order[0]] = True
    else:
        validating[-max(1, count // 10) :] = True
    return _parts(validating)


def held_out_rows(labels: Tensor, share: float, classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Choose the rows to train on and the share of each class to validate on, each in ascending order.

    The choice is random and always the same. Each class has at least one row in either part.

    Raises:
        DataError: a class has one row.

    >>> rows = held_out_rows(torch.tensor([0, 0, 0, 0, 1, 1]), 0.25, ("cat", "dog"))
    >>> [len(part) for part in rows]
    [4, 2]
    """
    order = _order(len(labels))
    validating = torch.zeros(len(labels), dtype=torch.bool, device="cpu")
    for label in labels.unique().tolist():
        members = order[labels[order] == label]
        if len(members) < 2:
            raise DataError(
                f"the class {classes[label]!r} has one picture; --split needs two of each class, one to "
                "train and one to validate on: add pictures, or take the class out"
            )
        held_out = min(max(1, round(share * len(members))), len(members) - 1)
        validating[members[:held_out]] = True
    return _parts(validating)


def check_share(source: str, unsplit: tuple[str, ...], split: bool, share: float | None) -> None:
    """Refuse a share that is out of range, that the source needs and lacks, or that it has no use for.

    Args:
        source: the data set, for the message.
        unsplit: the classes of a folder ``<class>/<image>``; none if the source is another.
        split: True if the source has images to train on that are set apart.
        share: the share of each class to validate on.

    Raises:
        DataError: the message says which.
    """
    if share is not None and not 0 < share < 1:
        raise DataError(f"--split is {share}; expected a share between 0 and 1, such as 0.2")
    if unsplit and share is None:
        raise DataError(
            f"{source} has pictures by class ({', '.join(unsplit[:3])}{', ...' if unsplit[3:] else ''}) and "
            "no train/: pass --split 0.2 (val_share=0.2) to hold out a fifth of each class for validation, "
            "or move the pictures to train/<class>/"
        )
    if split and share is not None:
        raise DataError(
            f"--split (val_share) is for a folder <class>/<image>, and the images to train on in {source} "
            "are set apart already: leave it out; validation images are its own, or a tenth of these"
        )


def _order(count: int) -> Tensor:
    # RandomState's streams are frozen for good, so the choice is the same with every version of numpy.
    return torch.from_numpy(np.random.RandomState(0).permutation(count))


def _parts(validating: Tensor) -> tuple[Tensor, Tensor]:
    return validating.logical_not().nonzero().flatten(), validating.nonzero().flatten()
