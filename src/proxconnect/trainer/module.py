"""The Lightning module: an image classifier, binarized or not."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from proxconnect.errors import TrainingError
from proxconnect.layers import activation_quantizers, binarized_weights, collect_accumulators
from proxconnect.optim import (
    MuSchedule,
    ProxOptimizer,
    clip_latents,
    default_schedule,
    learning_rate_factor,
    param_groups,
)
from proxconnect.trainer._process import SHARDED
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.distill import Distillation
from proxconnect.trainer.precision import computing_in
from proxconnect.trainer.stages import place_of_step

T = TypeVar("T")


class _WholeBatch(NamedTuple):
    """Mean loss, accuracy and number of images of a batch, over all devices."""

    loss: Tensor
    accuracy: Tensor
    images: int


class Classifier(LightningModule):
    """A Lightning module that trains ``model`` by cross-entropy, or with a teacher, as ``config`` says.

    Args:
        model: the model, binarized already if ``config`` binarizes it.
        config: a resolved configuration.
        steps_per_epoch: optimizer steps in an epoch.
        distillation: the loss to train with instead of cross-entropy.
        precision: "32" or "bf16", see :func:`computing_in`.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        steps_per_epoch: int,
        distillation: Distillation | None = None,
        precision: str = "32",
    ) -> None:
        super().__init__()
        self.model = model
        self.precision = precision
        # torch.compile gets a function: of a module it makes a module, which would be registered here too.
        self.answer = torch.compile(lambda images: model(images)) if config.compile else model.__call__
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.distillation = distillation
        self.stages = config.stage_list
        self.stage = self.stages[0]
        self.mu_schedule = _mu_schedule(model, config, steps_per_epoch)
        self.activation_schedule = _activation_schedule(model, config, steps_per_epoch)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (N, classes) of normalised images (N, C, H, W)."""
        logits: Tensor = self.model(images)
        return logits

    def on_fit_start(self) -> None:
        """Move the teacher to the device: it is no part of this module, so Lightning does not."""
        if self.distillation is not None:
            self.distillation.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Switch the quantizers on and off as the stage of the epoch says."""
        place = place_of_step(self.stages, self.current_epoch * self.steps_per_epoch, self.steps_per_epoch)
        self.stage = place.stage
        self.stage.enter(self.model)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> dict[str, Tensor]:
        """Compute loss and accuracy of one batch; refuse to go on if the loss is not finite.

        Each device has its part of the batch. The loss is weighted by the size of the part, so that the mean
        of the devices' gradients is the gradient of the mean over the whole batch.
        """
        images, labels = batch
        if self.config.overflow_penalty:
            with collect_accumulators(self.model) as sums:
                loss, logits = self._loss(images, labels)
            loss = loss + self.config.overflow_penalty * sums.penalty()
        else:
            loss, logits = self._loss(images, labels)
        whole = self._log("train", loss.detach(), logits, labels)
        if not torch.isfinite(whole.loss):
            raise TrainingError(self._not_finite(whole.loss.item(), batch_index))
        share = len(labels) * self.trainer.world_size / whole.images
        return {"loss": share * loss, "accuracy": whole.accuracy}

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.distillation is not None:
            return self.distillation(self.model, images, labels, self._answer)
        logits = self._answer(images)
        return functional.cross_entropy(logits, labels), logits

    def _answer(self, images: Tensor) -> Tensor:
        with computing_in(self.precision, images.device):
            logits: Tensor = self.answer(images)
        return logits.float()

    def _not_finite(self, loss: float, batch_index: int) -> str:
        epoch = self.current_epoch
        kept = (
            f"the checkpoint of epoch {epoch} is kept"
            if epoch
            else "no epoch was completed, so no checkpoint is kept"
        )
        return (
            f"the loss is {loss} at step {self.global_step + 1} (epoch {epoch + 1}, "
            f"batch {batch_index + 1}); {kept}. Try a lower --lr than {self.config.lr:g}"
        )

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log cross-entropy and accuracy of one validation batch."""
        images, labels = batch
        logits = self(images)
        self._log("val", functional.cross_entropy(logits, labels), logits, labels)

    def _log(self, part: str, loss: Tensor, logits: Tensor, labels: Tensor) -> _WholeBatch:
        right = (logits.argmax(dim=1) == labels).sum()
        sums = torch.stack((loss * len(labels), right.to(loss), loss.new_tensor(len(labels))))
        # Lightning's sync_dist would round the mean number of images down.
        loss, right, images = self.trainer.strategy.reduce(sums, reduce_op="sum")
        whole = _WholeBatch(loss / images, right / images, int(images))
        values = {f"{part}_loss": whole.loss, f"{part}_accuracy": whole.accuracy}
        self.log_dict(values, on_epoch=True, on_step=False, batch_size=whole.images)
        return whole

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Move each sharpness after a step of a stage that quantizes with it."""
        if self.mu_schedule is not None:
            if self.stage.weights:
                self.mu_schedule.step()
            self.log("mu", self.mu_schedule.mu)
        if self.activation_schedule is not None and self.stage.activations:
            self.activation_schedule.step()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer of latent and other parameters, with a learning rate for each step."""
        config = self.config
        groups = param_groups(
            self.model, lr=_given(config.lr), weight_decay=_given(config.weight_decay), **self._latent()
        )
        optimizer = _optimizer(config, groups, fused=self._has_fused_steps())
        if self.mu_schedule is not None and config.rule != "pc":
            optimizer = ProxOptimizer(optimizer, self.model, rule=_given(config.rule))
        clip_latents(optimizer, self.model)

        def factor(step: int) -> float:
            place = place_of_step(self.stages, step, self.steps_per_epoch)
            return learning_rate_factor(place.step, place.steps)

        schedule = LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _has_fused_steps(self) -> bool:
        return self.config.strategy != SHARDED and self.device.type in ("cpu", "cuda")

    def _latent(self) -> dict[str, Any]:
        if self.mu_schedule is None:
            return {}
        return {
            # Steps of Adam are as large as the learning rate, which is a lot for raw latents of about 0.05.
            "latent_lr": self.config.latent_lr,
            "latent_lr_relative": self.config.optimizer != "sgd",
            "latent_weight_decay": self.config.latent_weight_decay,
            "latent_clip": self.config.latent_clip,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the sharpness schedules to the checkpoint."""
        for name, schedule in self._schedules():
            checkpoint[name] = schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the sharpness schedules."""
        for name, schedule in self._schedules():
            schedule.load_state_dict(checkpoint[name])

    def on_fit_end(self) -> None:
        """Make sure that every sharpness has reached its end."""
        if self.current_epoch == self.config.epochs:
            for _, schedule in self._schedules():
                schedule.check_finished()

    def _schedules(self) -> list[tuple[str, MuSchedule]]:
        both = {"mu_schedule": self.mu_schedule, "activation_schedule": self.activation_schedule}
        return [(name, schedule) for name, schedule in both.items() if schedule is not None]


def _optimizer(config: TrainConfig, groups: list[dict[str, Any]], *, fused: bool) -> Optimizer:
    lr = _given(config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    adaptive = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return adaptive(groups, lr=lr, fused=fused)


def _mu_schedule(model: nn.Module, config: TrainConfig, steps_per_epoch: int) -> MuSchedule | None:
    if not any(True for _ in binarized_weights(model)):
        return None
    end = None if config.mu_schedule == "constant" else config.mu_end
    kind, start, fraction = _given(config.mu_schedule), _given(config.mu_start), config.mu_fraction
    steps = steps_per_epoch * sum(stage.epochs for stage in config.stage_list if stage.weights)
    return MuSchedule(model, kind, start=start, end=end, steps=steps, fraction=fraction)


def _activation_schedule(model: nn.Module, config: TrainConfig, steps_per_epoch: int) -> MuSchedule | None:
    pairs = {quantizer.pair.name for _, _, quantizer in activation_quantizers(model)}
    if not pairs:
        return None
    kind, start, end = default_schedule(pairs.pop())
    steps = steps_per_epoch * sum(stage.epochs for stage in config.stage_list if stage.activations)
    return MuSchedule(
        model, kind, start=start, end=end, steps=steps, fraction=config.mu_fraction, of="activations"
    )


def _given(value: T | None) -> T:
    assert value is not None, "the configuration is not resolved"
    return value
