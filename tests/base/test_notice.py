"""Warnings name the user's line, however deep in the package they arise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import proxconnect as pc


def pruned() -> nn.Module:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    torch.nn.utils.parametrizations.weight_norm(model[1])
    return model


def decayed() -> Any:
    model = pc.binarize_(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), pc.BinarizeConfig("bc"))
    return pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1), model)


def jumped() -> None:
    model = pc.binarize_(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), pc.BinarizeConfig())
    pc.MuSchedule(model, "linear", end=9, steps=8).load_state_dict({"count": 4, "mu": 9.0})


@pytest.mark.parametrize("cause", [lambda: pc.binarize_(pruned(), pc.BinarizeConfig()), decayed, jumped])
def test_a_warning_names_the_line_outside_of_the_package(cause: Callable[[], Any]) -> None:
    with pytest.warns(UserWarning, match="leaves layers|weight_decay|was saved after") as caught:
        cause()
    assert {warning.filename for warning in caught} == {__file__}
