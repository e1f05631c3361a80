"""BatchNorm statistics after hardening."""

from __future__ import annotations

import pytest
import torch
from looking import every, same_tensors
from torch import nn

import proxconnect as pc


def test_statistics_are_the_average_over_batches() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5)).train()
    batches = [torch.randn(16, 3), torch.randn(16, 3) + 1]
    weights = [p.detach().clone() for p in model.parameters()]
    pc.recalibrate_(model, batches)
    outputs = [model[0](batch) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([y.mean(0) for y in outputs]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([y.var(0) for y in outputs]).mean(0))
    assert every(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert model[1].momentum == 0.3
    assert every(module.training for module in model.modules())


def test_mode_is_restored_when_the_model_fails() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3)).eval()
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        pc.recalibrate_(model, [torch.randn(3)])
    assert not model[0].training
    assert model[0].momentum == 0.1


def test_refuses_no_batches_and_no_batch_norm() -> None:
    with pytest.raises(pc.ProxConnectError, match="at least one batch"):
        pc.recalibrate_(nn.BatchNorm1d(3), [])
    with pytest.raises(pc.ProxConnectError, match="no BatchNorm"):
        pc.recalibrate_(nn.Linear(3, 3), [torch.randn(1, 3)])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (float("nan"), r"batch 1 \(from 0\) has NaN"),
        (float("inf"), r"batch 1 .* that are not finite"),
    ],
)
def test_refuses_batches_that_spoil_the_statistics(bad: float, words: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=0.3), nn.Linear(3, 1)).train()
    model(torch.randn(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [torch.randn(8, 3), torch.randn(8, 3).index_fill(0, torch.tensor([5]), bad)]
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.recalibrate_(model, batches)
    assert same_tensors(model.state_dict(), before)
    assert model[1].momentum == 0.3
    assert every(module.training for module in model.modules())


def test_nan_that_no_batch_norm_sees_is_refused_too() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Threshold(0.0, 1.0), nn.BatchNorm1d(3))
    with pytest.raises(pc.ProxConnectError, match="has NaN"):
        pc.recalibrate_(model, [torch.tensor([[torch.nan, 1.0, 2.0], [3.0, 4.0, 5.0]])])
