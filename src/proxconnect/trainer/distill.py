"""Distillation: a student learns from a teacher's answers as well as from the labels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxconnect.errors import TrainingError, unknown_name


class Distillation:
    """The loss of a student that learns from a full-precision teacher; for any training loop.

    ``a`` and ``b`` are the logits of student and teacher, ``t`` is the temperature, ``c`` the weight, and
    ``x_k`` and ``y_k`` are the outputs of the modules named in ``features``. The loss is a batch's mean of

        (1 - c) CE(a, label) + c t^2 KL(softmax(b/t) || softmax(a/t)) + f sum_k |x_k/|x_k| - y_k/|y_k||^2

    where ``|.|`` is the Euclidean norm of one example's output.

    Sources: Hinton, Vinyals and Dean (arXiv 1503.02531) for the logits; attention transfer
    (arXiv 1612.03928) for the normalised features.

    Args:
        teacher: a trained model for the same inputs and classes. A copy is kept, frozen and in eval mode. The
            copy is part neither of the student nor of its checkpoints.
        weight: ``c``, from 0 (labels alone) to 1 (the teacher alone).
        temperature: ``t``, positive; it softens both distributions, and ``t^2`` keeps the gradient's size.
        features: names of modules of teacher and student alike, with outputs of equal shapes.
        feature_weight: ``f``, at least 0.

    Raises:
        TrainingError: a number is out of range, or the teacher has no module of such a name.

    >>> teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    >>> distillation = Distillation(teacher, weight=0.9, temperature=2.0)
    >>> loss, logits = distillation(student, torch.rand(8, 4), torch.zeros(8, dtype=torch.long))
    >>> loss.backward()
    >>> student.weight.grad.shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        teacher: nn.Module,
        *,
        weight: float = 0.5,
        temperature: float = 4.0,
        features: Sequence[str] = (),
        feature_weight: float = 1.0,
    ) -> None:
        if not 0 <= weight <= 1:
            raise TrainingError(f"the weight of distillation is a share, from 0 to 1, not {weight!r}")
        if not 0 < temperature < float("inf"):
            raise TrainingError(f"the temperature of distillation must be positive, not {temperature!r}")
        if not 0 <= feature_weight < float("inf"):
            raise TrainingError(f"feature_weight must be at least 0, not {feature_weight!r}")
        _modules(teacher, features, "teacher")
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.weight, self.temperature = weight, temperature
        self.features, self.feature_weight = tuple(features), feature_weight

    def to(self, device: torch.device) -> None:
        """Move the teacher to ``device``."""
        self.teacher.to(device)

    def check(self, student: nn.Module, images: Tensor) -> None:
        """Try the loss of ``student`` on ``images``; the student stays as it is.

        Raises:
            TrainingError: a module named in ``features`` is absent, or outputs have other shapes.
        """
        trial = copy.deepcopy(student).eval()
        with torch.no_grad():
            self(trial, images, torch.zeros(len(images), dtype=torch.long, device=images.device))

    def __call__(
        self,
        student: nn.Module,
        images: Tensor,
        labels: Tensor,
        answer: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss and the student's logits of a batch.

        Args:
            student: the model that trains.
            images: input of both models, batch first.
            labels: int64 (B,).
            answer: a compiled form of ``student`` to call instead; it hides ``features``.

        Raises:
            TrainingError: as for :meth:`check`.
        """
        with torch.no_grad(), _outputs(self.teacher, self.features, "teacher") as wanted:
            answers = self.teacher(images)
        with _outputs(student, self.features, "student") as found:
            logits = (answer or student)(images)
        if logits.shape != answers.shape:
            raise TrainingError(
                f"the teacher answers with shape {tuple(answers.shape)}, the student with "
                f"{tuple(logits.shape)}; take a teacher for the same classes"
            )
        loss = (1 - self.weight) * functional.cross_entropy(logits, labels)
        loss = loss + self.weight * self._divergence(logits, answers)
        for name in self.features:
            loss = loss + self.feature_weight * _distance(name, found[name], wanted[name])
        return loss, logits

    def _divergence(self, logits: Tensor, answers: Tensor) -> Tensor:
        t = self.temperature
        student, teacher = (functional.log_softmax(x.float() / t, dim=1) for x in (logits, answers))
        return t**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _distance(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape != teacher.shape:
        raise TrainingError(
            f"the output of {name!r} has shape {tuple(student.shape)} in the student and "
            f"{tuple(teacher.shape)} in the teacher; choose features of equal shapes"
        )
    x, y = (functional.normalize(z.float().flatten(1), dim=1) for z in (student, teacher))
    return (x - y).square().sum(dim=1).mean()


@contextmanager
def _outputs(model: nn.Module, names: Sequence[str], role: str) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules within the context."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found.__setitem__(name, output)

    with ExitStack() as hooks:
        for name, module in _modules(model, names, role).items():
            hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield found


def _modules(model: nn.Module, names: Sequence[str], role: str) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            known = [module for module in modules if module]
            raise TrainingError(f"the {role} does not fit: {unknown_name('module', name, known)}")
    return {name: modules[name] for name in names}
