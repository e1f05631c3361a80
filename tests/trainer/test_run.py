"""Training runs: exact resuming, what they leave behind, and what stops them."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every, same_tensors, some
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from proxconnect.data import Batches
from proxconnect.errors import DataError, TrainingError
from proxconnect.layers import binarized_weights
from proxconnect.trainer import TrainConfig, read_checkpoint, resume, train
from proxconnect.trainer import module as trainer_module
from proxconnect.trainer.epoch_table import read_epochs


def tiny(**values: Any) -> TrainConfig:
    base = {
        "model": "resnet8",
        "data": "digits",
        "epochs": 3,
        "limit_train_batches": 3,
        "limit_val_batches": 1,
    }
    return TrainConfig(**{**base, "batch_size": 32, **values})


def quiet(line: str) -> None:
    pass


class Stop:
    """Ends a run like Ctrl-C does, while the given epoch ends and before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, line: str) -> None:
        if line.startswith(f"epoch {self.epoch}/"):
            raise KeyboardInterrupt


def same_weights(left: Path, right: Path) -> bool:
    a, b = read_checkpoint(left).weights, read_checkpoint(right).weights
    return same_tensors(a, b)


def same_keys(left: Path, right: Path) -> bool:
    return read_checkpoint(left).weights.keys() == read_checkpoint(right).weights.keys()


def steps_in_tensorboard(out: Path) -> list[int]:
    return [event.step for event in EventAccumulator(str(out / "tensorboard")).Reload().Scalars("train_loss")]


def untimed(table: Path) -> list[dict[str, float]]:
    """Read a table of a run without the columns that the clock fills."""
    return [
        {key: value for key, value in row.items() if key not in ("epoch_seconds", "data_share")}
        for row in read_epochs(table)
    ]


@pytest.mark.parametrize(
    "values",
    [
        *(
            pytest.param(values, marks=pytest.mark.full)
            for values in ({"setting": "fp"}, {"setting": "bw"}, {"rule": "pq"})
        ),
        {"rule": "rpc"},
        {
            "setting": "bwaa",
            "activations": "bnn++",
            "overflow_penalty": 0.1,
            "stages": "activations:1,both:2",
        },
    ],
    ids=str,
)
def test_resuming_equals_never_stopping(values: dict[str, Any], tmp_path: Path) -> None:
    whole = train(tiny(**values), tmp_path / "whole", show=quiet)
    with pytest.raises(
        KeyboardInterrupt, match="interrupted after epoch 1 of 3; continue with: proxconnect train"
    ):
        train(tiny(**values), tmp_path / "parts", show=Stop(2))
    assert read_checkpoint(tmp_path / "parts").epoch == 1
    assert (tmp_path / "parts" / "curves.png").is_file()
    resumed = resume(tmp_path / "parts", {}, show=quiet)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert resumed.metrics["train_loss"] == whole.metrics["train_loss"]
    assert resumed.metrics["val_loss"] == whole.metrics["val_loss"]
    for table in ("metrics.csv", "layers.csv"):
        assert untimed(tmp_path / "whole" / table) == untimed(tmp_path / "parts" / table)
    assert steps_in_tensorboard(tmp_path / "parts") == [1, 2, 3]


def test_the_same_seed_gives_the_same_run_and_another_does_not(finished_runs: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(tiny(seed=seed, epochs=1), tmp_path / str(seed), show=quiet)
    assert same_weights(tmp_path / "0", finished_runs / "bw")
    assert not same_weights(tmp_path / "1", finished_runs / "bw")


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny(epochs=1), tmp_path / "run", show=quiet)
    assert torch.equal(torch.rand(3), expected)


def test_a_run_anneals_mu_logs_and_rebuilds(tmp_path: Path) -> None:
    lines: list[str] = []
    run = train(tiny(mu_end=40.0), tmp_path / "run", show=lines.append)
    assert [line.split("  ")[0] for line in lines[2:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert every(word in lines[2] for word in ("loss", "accuracy", "mu", "flips", "binary"))
    model = read_checkpoint(tmp_path / "run").build_model()
    assert {q.mu.item() for _, _, _, q in binarized_weights(model)} == {40.0}
    inputs = torch.rand(2, 1, 8, 8)
    trained = run.model.to(memory_format=torch.contiguous_format)
    assert torch.equal(model(inputs), trained(inputs))
    assert 0 < run.metrics["data_share"] < 1


def test_batches_are_made_on_the_device_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[torch.device] = []
    monkeypatch.setattr(Batches, "set_device", lambda self, device: devices.append(device))
    train(tiny(epochs=1, limit_train_batches=1, accelerator="cpu"), tmp_path / "run", show=quiet)
    assert devices == [torch.device("cpu")] * 2  # of training and of validation


@pytest.mark.full
@pytest.mark.parametrize("setting", ["bw", "bwa"])
def test_a_compiled_run_is_the_same_up_to_rounding(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    config = tiny(setting=setting, epochs=1, limit_train_batches=4, optimizer="sgd", lr=1e-3)
    plain = train(config, tmp_path / "plain", show=quiet)
    assert not graphs
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend, fullgraph=True))
    compiled = train(dataclasses.replace(config, compile=True), tmp_path / "compiled", show=quiet)
    assert len(graphs) == 1  # of three steps, in which mu moves; the layers of the last are looked into
    for key in ("train_loss", "gradient_killed", "outside_exact"):  # early steps magnify rounding
        assert compiled.metrics[key] == pytest.approx(plain.metrics[key], rel=0.05)
    assert same_keys(tmp_path / "plain", tmp_path / "compiled")


def test_flip_rate_is_the_share_of_signs_that_changed(tmp_path: Path) -> None:
    def signs() -> torch.Tensor:
        weights = read_checkpoint(tmp_path / "run").weights
        return torch.cat(
            [w.flatten() >= 0 for name, w in weights.items() if name.endswith("weight.original")]
        )

    before: list[torch.Tensor] = []

    def remember(line: str) -> None:
        if line.startswith("epoch 3/"):
            before.append(signs())

    run = train(tiny(lr=0.01), tmp_path / "run", show=remember)
    expected = (before[0] != signs()).float().mean().item()
    assert expected > 0
    assert run.metrics["flip_rate"] == pytest.approx(expected, abs=1e-6)


def test_fine_tuning_starts_from_the_full_precision_weights(finished_runs: Path, tmp_path: Path) -> None:
    train(
        tiny(init=str(finished_runs / "fp"), lr=1e-12, latent_lr=1e-12, epochs=1), tmp_path / "bw", show=quiet
    )
    start, tuned = read_checkpoint(finished_runs / "fp").weights, read_checkpoint(tmp_path / "bw").weights
    name = "blocks.0.conv1"
    torch.testing.assert_close(tuned[f"{name}.parametrizations.weight.original"], start[f"{name}.weight"])


def test_latent_clip_holds(tmp_path: Path) -> None:
    run = train(tiny(method="bnn", latent_clip=0.25, epochs=1), tmp_path / "run", show=quiet)
    for _, module, _, quantizer in some(binarized_weights(run.model)):
        assert quantizer.normalized(module.parametrizations.weight.original).abs().max() <= 0.25 + 1e-6


@pytest.mark.parametrize("bad", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.full)])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    bad: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = trainer_module.functional.cross_entropy
    calls = 0

    def poisoned(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = honest(logits, labels)
        return loss * bad if calls == 6 else loss  # the second batch of the second epoch

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.functional, "cross_entropy", poisoned)
        with pytest.raises(
            TrainingError, match=rf"loss is {bad} at step 5 \(epoch 2, batch 2\).*epoch 1.*lower --lr"
        ):
            train(tiny(), tmp_path / "run", show=quiet)
    assert read_checkpoint(tmp_path / "run").epoch == 1
    assert resume(tmp_path / "run", {}, show=quiet).checkpoint.is_file()


def test_a_loss_that_is_not_finite_in_the_first_epoch_says_that_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no epoch was completed"):
        train(tiny(setting="fp", lr=1e25), tmp_path / "run", show=quiet)


def test_a_single_value_for_a_channel_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"BatchNorm cannot train on a single value .* --batch-size"):
        train(tiny(setting="fp", model="resnet18", batch_size=1), tmp_path / "run", show=quiet)


def test_resume_says_what_differs(finished_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_runs / "bw", tmp_path / "run")
    with pytest.raises(TrainingError, match=r"seed was 0, now 7; mu_end was 300, now 30.0|mu_end.*seed"):
        resume(tmp_path / "run", {"seed": 7, "mu_end": 30.0}, show=quiet)
    resume(tmp_path / "run", {"seed": 0}, show=quiet)


def test_a_run_begun_before_an_option_existed_is_resumed(finished_runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_runs / "bw", tmp_path / "run")
    content = torch.load(run / "checkpoint", weights_only=True)
    for name in ("rule", "block", "nonlinearity", "levels"):
        del content["proxconnect"]["config"][name]
    torch.save(content, run / "checkpoint")
    assert resume(run, {}, show=quiet).metrics["val_loss"] > 0


def test_layers_with_narrow_accumulators_log_their_overflow_rate(tmp_path: Path) -> None:
    lines: list[str] = []
    values = {"setting": "bwaa", "accumulator_bits": 4, "epochs": 1}
    run = train(tiny(**values), tmp_path / "run", show=lines.append)
    assert 0 < run.metrics["overflow_rate"] < 1
    assert re.search(r"overflows \S+ \(alarm\)", lines[2])
    assert every(line.startswith("alarm: ") for line in lines[3:])
    assert some(line for line in lines if "raise accumulator_bits" in line)
    layers = read_epochs(tmp_path / "run" / "layers.csv")
    sums = sum(row["elements"] * row["overflow_rate"] for row in layers)
    assert sums / sum(row["elements"] for row in layers) == pytest.approx(run.metrics["overflow_rate"])


def test_init_needs_the_same_architecture(finished_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has block 'basic', this run has 'bireal'; pass --block basic"):
        train(tiny(setting="bwa", init=str(finished_runs / "fp")), tmp_path / "run", show=quiet)
    assert not (tmp_path / "run").exists()


def test_resume_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint at"):
        resume(tmp_path, {}, show=quiet)


def test_a_folder_in_use_is_refused_unless_overwritten(finished_runs: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished_runs / "bw", tmp_path / "run")
    with pytest.raises(
        TrainingError, match="is not empty; choose another folder, --resume it, or pass --overwrite"
    ):
        train(tiny(epochs=1), out, show=quiet)
    train(tiny(epochs=1, seed=3), out, overwrite=True, show=quiet)
    assert read_checkpoint(out).config.seed == 3


def test_overwrite_never_empties_what_is_not_a_run(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(TrainingError, match="does not hold a run"):
        train(tiny(epochs=1), tmp_path, overwrite=True, show=quiet)
    with pytest.raises(TrainingError, match="is a file; give a folder"):
        train(tiny(epochs=1), precious, show=quiet)
    assert precious.read_text() == "years of work"


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(tiny(data=str(tmp_path / "absent")), tmp_path / "run", show=quiet)
    assert not (tmp_path / "run").exists()


def test_init_refuses_what_does_not_fit(finished_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has model 'resnet8', this run has 'resnet32'"):
        train(tiny(model="resnet32", init=str(finished_runs / "fp")), tmp_path / "a", show=quiet)
    with pytest.raises(TrainingError, match=r"needs a full-precision checkpoint; .* has setting 'bw'"):
        train(tiny(init=str(finished_runs / "bw")), tmp_path / "b", show=quiet)
