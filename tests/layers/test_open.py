"""Binarization and schedules warn where a forward quantizer does not approach its levels as mu grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc

OPEN: dict[str, Callable[[Tensor, float], Tensor]] = {
    "fades": lambda w, mu: torch.atan(mu * w) / mu,
    "grows": lambda w, mu: mu * torch.tanh(mu * w),
    "does not depend on mu": lambda w, mu: w.clamp(-1, 1),
    "opens as mu grows": lambda w, mu: torch.tanh(w / mu),
    "has other levels": lambda w, mu: torch.sigmoid(mu * w),
    "is unbounded": lambda w, mu: w + torch.tanh(mu * w),
}
CLOSING: dict[str, Callable[[Tensor, float], Tensor]] = {
    "closes": lambda w, mu: torch.tanh(mu * w),
    "closes slowly": lambda w, mu: torch.tanh(mu * w / 50),
    "overflows": lambda w, mu: (torch.exp(mu * w) - 1) / (torch.exp(mu * w) + 1),
    "fails": lambda w, mu: w.no_such_attribute,
}


def layer_of(**values: Any) -> nn.Module:
    return pc.binarize_(nn.Linear(8, 4), pc.BinarizeConfig.from_setting(**values), lambda module, name: True)


def warned(function: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(warning.message) for warning in caught if warning.filename == __file__]


@pytest.mark.parametrize("name", OPEN)
def test_an_open_forward_is_noticed_when_it_is_used(name: str) -> None:
    pair = pc.ForwardBackward(OPEN[name], name=name)
    for values in ({"setting": "bw", "method": pair}, {"setting": "bwa", "activations": pair}):
        (text,) = warned(lambda values=values: layer_of(**values))
        assert f"{name!r} does not approach the levels {{-1, 1}} as mu grows" in text
        assert "pc.repair(pair)" in text
        assert "\n" not in text


def test_a_schedule_notices_it_too_unless_it_ends_at_the_levels() -> None:
    with pytest.warns(UserWarning, match="does not approach"):
        layer = layer_of(setting="bw", method=pc.ForwardBackward(OPEN["opens as mu grows"], name="cooled"))
    assert warned(lambda: pc.MuSchedule(layer, start=1, end=30, steps=2))[0].count("'cooled'") == 1
    assert warned(lambda: pc.MuSchedule(layer, start=1, end=0.01, steps=2)) == []


@pytest.mark.parametrize("name", CLOSING)
def test_a_closing_forward_is_silent(name: str) -> None:
    pair = pc.ForwardBackward(CLOSING[name], name=name)
    assert warned(lambda: pc.MuSchedule(layer_of(setting="bw", method=pair), "constant", start=1)) == []


@pytest.mark.parametrize("method", [name for name in pc.methods() if name != "fp"])
def test_the_catalogue_is_silent(method: str) -> None:
    assert warned(lambda: pc.MuSchedule(layer_of(setting="bw", method=method), end=300, steps=9)) == []
    assert warned(lambda: layer_of(setting="bwa", activations=method)) == []


def test_each_pair_is_noticed_once_with_its_own_levels() -> None:
    ramp = pc.ForwardBackward(lambda w, mu: w.clamp(-1, 1), name="ramp")
    steps = pc.ForwardBackward(lambda w, mu: (w > 0.5).to(w) - (w < -0.5).to(w), name="three levels")
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    config = {
        "0": pc.BinarizeConfig(ramp),
        "1": pc.BinarizeConfig(ramp),
        "2": pc.BinarizeConfig(steps),
        "3": pc.BinarizeConfig(steps, levels=(-1, 0, 1)),
    }
    found = warned(lambda: pc.binarize_(model, config))
    assert [text.split("'")[1] for text in found] == ["ramp", "three levels"]
    assert "{-1, 1}" in found[1]
