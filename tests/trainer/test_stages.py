"""Training in stages: what is quantized when, and what the schedules make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from looking import same_tensors
from torch import nn

import proxconnect as pc
from proxconnect.errors import TrainingError
from proxconnect.layers import binarized_weights, latent_weight
from proxconnect.optim import learning_rate_factor
from proxconnect.trainer import Stage, TrainConfig, read_checkpoint, resume, train
from proxconnect.trainer.module import Classifier
from proxconnect.trainer.stages import place_of_step, read_stages


def tiny(**values: Any) -> TrainConfig:
    base = {"model": "resnet8", "data": "digits", "limit_train_batches": 2, "limit_val_batches": 1}
    return TrainConfig(**{**base, "batch_size": 32, **values})


def test_a_stage_without_weights_computes_with_the_latents() -> None:
    layer = pc.binarize_(nn.Linear(8, 4), pc.BinarizeConfig("bc"), lambda module, name: True)
    Stage("none", 1).enter(layer)
    assert torch.equal(layer.weight, latent_weight(layer))
    layer(torch.rand(3, 8)).sum().backward()
    assert latent_weight(layer).grad is not None
    Stage("both", 1).enter(layer)
    assert layer.weight.abs().unique().numel() <= 4


@pytest.mark.parametrize(
    ("text", "setting", "epochs", "words"),
    [
        ("weights", "bw", 10, "are written as activations:10,both:20, not 'weights'"),
        ("wieghts:10", "bw", 10, "unknown stage 'wieghts'; did you mean 'weights'"),  # codespell:ignore
        ("weights:0", "bw", 10, "at least 1 epoch, not 0"),
        ("none:3,weights:6", "bw", 10, "have 9 epochs together, but epochs is 10"),
        ("activations:3,weights:7", "bw", 10, "setting 'bw' leaves in full precision"),
        ("weights:3,none:7", "bw", 10, "the last stage must quantize all .* end with weights, not none"),
        ("both:3,weights:7", "bwa", 10, "end with both, not weights"),
        ("none:10", "fp", 10, "setting 'fp' quantizes nothing"),
    ],
)
def test_refuses(text: str, setting: str, epochs: int, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        read_stages(text, setting=setting, epochs=epochs)


def test_activations_first_then_weights() -> None:
    first, second = read_stages("activations:3,both:7", setting="bwa", epochs=10)
    assert (first.weights, first.activations) == (False, True)
    assert (second.weights, second.activations) == (True, True)


def test_the_learning_rate_starts_anew_in_each_stage() -> None:
    stages = [Stage("none", 2), Stage("weights", 3)]
    places = [place_of_step(stages, step, 10) for step in range(51)]
    factors = [learning_rate_factor(place.step, place.steps) for place in places]
    expected = [learning_rate_factor(step, 20) for step in range(20)]
    assert factors == expected + [learning_rate_factor(step, 30) for step in range(31)]


def test_a_staged_run_switches_at_an_epoch_and_moves_mu_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    honest = Classifier.training_step

    def spy(self: Classifier, *arguments: Any) -> Any:
        seen.append({(q.enabled, round(q.mu.item(), 3)) for _, _, _, q in binarized_weights(self.model)})
        return honest(self, *arguments)

    monkeypatch.setattr(Classifier, "training_step", spy)
    sharpness = {"mu_schedule": "exponential", "mu_end": 16.0, "mu_fraction": 0.5}
    config = tiny(epochs=3, stages="none:1,weights:2", **sharpness)
    train(config, tmp_path / "run", show=lambda line: None)
    assert seen == [{(False, 1.0)}] * 2 + [{(True, 1.0)}, {(True, 4.0)}, {(True, 16.0)}, {(True, 16.0)}]


def test_resuming_at_the_switch_equals_never_stopping(tmp_path: Path) -> None:
    config = tiny(epochs=2, stages="none:1,weights:1")

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    train(config, tmp_path / "whole", show=lambda line: None)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", show=stop)
    resume(tmp_path / "parts", {}, show=lambda line: None)
    whole, parts = (read_checkpoint(tmp_path / name).weights for name in ("whole", "parts"))
    assert same_tensors(whole, parts)
