"""The sharpness over training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights


def model() -> nn.Sequential:
    return pc.binarize_(nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), pc.BinarizeConfig())


def mus(network: nn.Module) -> set[float]:
    return {quantizer.mu.item() for _, _, _, quantizer in binarized_weights(network)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [2.0, 2.0, 2.0, 2.0]),
        ("linear", [2.0, 5.0, 8.0, 8.0]),
        ("exponential", [2.0, 4.0, 8.0, 8.0]),
    ],
)
def test_moves_every_layer_and_stays_at_the_end(kind: str, expected: list[float]) -> None:
    network = model()
    end = None if kind == "constant" else 8
    schedule = pc.MuSchedule(network, kind, start=2, end=end, steps=2)
    seen = []
    for _ in expected:
        assert mus(network) == {schedule.mu}
        seen.append(schedule.mu)
        schedule.step()
    assert seen == expected


def test_resumes_where_it_stood() -> None:
    first, second = model(), model()
    schedule = pc.MuSchedule(first, "exponential", start=1, end=60, steps=100)
    for _ in range(37):
        schedule.step()
    resumed = pc.MuSchedule(second, "exponential", start=1, end=60, steps=100)
    resumed.load_state_dict(schedule.state_dict())
    for each in (schedule, resumed):
        each.step()
    assert mus(first) == mus(second) == {torch.tensor(schedule.mu).item()}


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("exponentail", {"end": 2}, "unknown schedule 'exponentail'; did you mean 'exponential'"),
        ("linear", {}, "a linear schedule takes an end, got None"),
        ("constant", {"end": 2}, "a constant schedule takes no end, got 2"),
        ("linear", {"end": 0}, "end must be a positive number, not 0"),
        ("linear", {"start": float("nan"), "end": 1}, "start must be a positive number, not nan"),
        ("linear", {"end": 2, "steps": 0}, "steps must be at least 1, not 0"),
    ],
)
def test_refuses(kind: str, values: dict[str, float], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.MuSchedule(model(), kind, **values)  # type: ignore[arg-type]


def test_refuses_a_model_without_latents() -> None:
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized layers"):
        pc.MuSchedule(nn.Linear(2, 2), "constant", start=1)
