"""The number format that training steps compute in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from looking import every, same_tensors
from torch import nn

from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, train
from proxconnect.trainer.precision import computing_in, fastest_precision

CPU = torch.device("cpu")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5))


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_computed_in_the_precision_and_all_else_stays_float32(
    precision: str, dtype: torch.dtype
) -> None:
    model = small_network()
    with computing_in(precision, CPU):
        answers = model(torch.randn(4, 3, 8, 8))
    answers.float().sum().backward()
    assert answers.dtype == dtype
    assert every(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in model.parameters())
    assert model[1].running_mean.dtype == torch.float32


def test_attention_is_the_same_function_in_bfloat16() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 16, 32)
    expected = nn.functional.scaled_dot_product_attention(q, k, v)
    with computing_in("bf16", CPU):
        got = nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)


def test_the_choice_is_said_and_leaves_the_model_as_it_was() -> None:
    model = small_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lines: list[str] = []
    chosen = fastest_precision(model, torch.randn(4, 3, 8, 8), lines.append)
    assert chosen in ("32", "bf16")
    assert len(lines) == 1
    assert lines[0].startswith(f"precision {chosen}: a step takes ")
    assert same_tensors(model.state_dict(), before)
    assert every(p.grad is None for p in model.parameters())


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(TrainingError, match="unknown precision '16'"):
        TrainConfig(model="resnet8", data="digits", precision="16").resolved()


@pytest.mark.parametrize("options", [{"precision": "auto"}, {"precision": "bf16", "channels_last": False}])
def test_runs_train_in_each_precision(options: dict[str, object], tmp_path: Path) -> None:
    config = TrainConfig(
        model="resnet8", data="digits", epochs=1, limit_train_batches=2, limit_val_batches=1, **options
    )
    lines: list[str] = []
    run = train(config, tmp_path / "run", show=lines.append)
    assert every(p.dtype == torch.float32 for p in run.model.parameters())
    assert any(line.startswith("precision ") for line in lines) == (options["precision"] == "auto")
