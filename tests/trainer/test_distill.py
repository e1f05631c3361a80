"""Distillation: the loss as its sources write it, and runs with a teacher."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn

from proxconnect.errors import TrainingError
from proxconnect.trainer import Distillation, TrainConfig, read_checkpoint, resume, train


def network(width: int = 6, classes: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, classes)
    )


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(5, 4), torch.tensor([0, 2, 1, 1, 0])


def literal(
    a: Tensor, b: Tensor, labels: Tensor, x: Tensor, y: Tensor, *, c: float, t: float, f: float
) -> float:
    """Compute the formula of the docstring, term by term."""
    total = 0.0
    for i in range(len(a)):
        p = [math.exp(v) / sum(math.exp(u) for u in a[i].tolist()) for v in a[i].tolist()]
        q_student = [math.exp(v / t) / sum(math.exp(u / t) for u in a[i].tolist()) for v in a[i].tolist()]
        q_teacher = [math.exp(v / t) / sum(math.exp(u / t) for u in b[i].tolist()) for v in b[i].tolist()]
        divergence = sum(r * math.log(r / s) for r, s in zip(q_teacher, q_student, strict=True))
        distance = sum(
            (
                u / math.dist(x[i].tolist(), [0.0] * len(x[i]))
                - v / math.dist(y[i].tolist(), [0.0] * len(y[i]))
            )
            ** 2
            for u, v in zip(x[i].tolist(), y[i].tolist(), strict=True)
        )
        total += -(1 - c) * math.log(p[int(labels[i])]) + c * t**2 * divergence + f * distance
    return total / len(a)


def test_the_loss_is_the_formula() -> None:
    torch.manual_seed(0)
    teacher, student, (inputs, labels) = network().eval(), network().eval(), batch()
    distillation = Distillation(teacher, weight=0.7, temperature=3.0, features=["0"], feature_weight=2.0)
    loss, logits = distillation(student, inputs, labels)
    assert torch.equal(logits, student(inputs))
    expected = literal(
        logits, teacher(inputs), labels, student[0](inputs), teacher[0](inputs), c=0.7, t=3.0, f=2.0
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_student_like_its_teacher_has_nothing_to_learn_from_it() -> None:
    student, (inputs, labels) = network().eval(), batch()
    distillation = Distillation(copy.deepcopy(student), weight=1.0, features=["1"])
    assert distillation(student, inputs, labels)[0].item() == pytest.approx(0, abs=1e-6)


def test_the_teacher_is_frozen_and_in_eval_mode_and_leaves_no_hooks() -> None:
    teacher, student, (inputs, labels) = network(), network(), batch()
    before = copy.deepcopy(teacher.state_dict())
    distillation = Distillation(teacher, features=["0"])
    loss, _ = distillation(student.train(), inputs, labels)
    loss.backward()
    assert not distillation.teacher.training
    assert teacher.training
    assert every(p.grad is None for p in (*teacher.parameters(), *distillation.teacher.parameters()))
    for kept in (teacher, distillation.teacher):
        assert same_tensors(before, kept.state_dict())
    assert every(not m._forward_hooks for net in (student, distillation.teacher) for m in net.modules())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight": 1.5}, "share, from 0 to 1, not 1.5"),
        ({"temperature": 0.0}, "must be positive, not 0.0"),
        ({"feature_weight": -1.0}, "at least 0, not -1.0"),
        ({"features": ["9"]}, "the teacher does not fit: unknown module '9'"),
    ],
)
def test_refuses_options(values: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        Distillation(network(), **values)


def test_refuses_students_that_do_not_fit() -> None:
    distillation = Distillation(network(), features=["0"])
    images = torch.rand(2, 4)
    with pytest.raises(
        TrainingError, match=r"teacher answers with shape \(2, 3\), the student with \(2, 4\)"
    ):
        distillation.check(network(classes=4), images)
    with pytest.raises(TrainingError, match=r"output of '0' has shape \(2, 7\) in the student"):
        distillation.check(network(width=7), images)
    with pytest.raises(TrainingError, match="the student does not fit: unknown module '0'"):
        distillation.check(nn.Linear(4, 3), images)


def tiny(**values: Any) -> TrainConfig:
    base = {"model": "resnet8", "data": "digits", "limit_train_batches": 2, "limit_val_batches": 1}
    return TrainConfig(**{**base, "batch_size": 32, "epochs": 2, **values})


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def teacher(finished_runs: Path) -> Path:
    return finished_runs / "fp"


def test_a_distilled_run_resumes_with_its_teacher(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    monkeypatch.chdir(teacher.parent)
    config = tiny(teacher="fp", distill_features="blocks.0, blocks.2", distill_weight=0.9)
    train(config, tmp_path / "whole", show=quiet)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", show=stop)
    monkeypatch.chdir(tmp_path)
    resume(tmp_path / "parts", {"teacher": str(teacher)}, show=quiet)
    whole, parts, alone = (
        read_checkpoint(path).weights for path in (tmp_path / "whole", tmp_path / "parts", teacher)
    )
    assert same_tensors(whole, parts)
    quantizers = [name for name in whole if name.endswith((".latent_scale", ".mu", ".mu_squared"))]
    assert len(whole) == len(alone) + len(quantizers)  # no teacher among them
    plain = train(tiny(), tmp_path / "plain", show=quiet)
    assert not torch.equal(plain.model.head.weight, whole["head.weight"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"distill_temperature": 2.0}, "distill_temperature needs a teacher"),
        ({"teacher": "{binary}"}, r"--teacher needs a full-precision checkpoint; .* has setting 'bw'"),
        ({"teacher": "{absent}"}, "no checkpoint at"),
        ({"teacher": "{fp}", "distill_weight": 2.0}, "distill_weight is a share, from 0 to 1, not 2.0"),
        (
            {"teacher": "{fp}", "distill_features": "block.2"},
            "unknown module 'block.2'; did you mean 'blocks.2'",
        ),
        ({"teacher": "{fp}", "model": "vit-mini", "distill_features": "blocks.1"}, "output of 'blocks.1'"),
    ],
)
def test_runs_refuse_before_anything_is_written(
    values: dict[str, Any], words: str, finished_runs: Path, tmp_path: Path
) -> None:
    places = {"fp": finished_runs / "fp", "binary": finished_runs / "bw", "absent": tmp_path / "absent"}
    if "teacher" in values:
        values = {**values, "teacher": values["teacher"].format(**places)}
    with pytest.raises(TrainingError, match=words):
        train(tiny(**values), tmp_path / "run", show=quiet)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    content = torch.load(other / "checkpoint", weights_only=True)
    content["proxconnect"]["data"]["classes"] = [f"class {i}" for i in range(10)]
    torch.save(content, other / "checkpoint")
    with pytest.raises(TrainingError, match=r"has classes .*class 0.* this run has"):
        train(tiny(teacher=str(other)), tmp_path / "run", show=quiet)
