"""Everything that decides what a training run computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from proxconnect.errors import TrainingError, unknown_name
from proxconnect.layers import BinarizeConfig
from proxconnect.quantizers import own_pair
from proxconnect.trainer._validate import check_names, check_numbers, check_teacher
from proxconnect.trainer.stages import Stage, read_stages

_LEARNING_RATES = {"sgd": 0.1, "adam": 2e-3, "adamw": 1e-3}
_WEIGHT_DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05}


def _option(default: Any, panel: str, help_text: str) -> Any:
    return field(default=default, metadata={"panel": panel, "help": help_text})


@dataclass(frozen=True)
class TrainConfig:
    """One training run; the fields' help texts say what each means; :meth:`resolved` fills in what is None.

    >>> config = TrainConfig(model="resnet20", data="digits").resolved()
    >>> config.method, config.optimizer, config.lr
    ('bnn++', 'adam', 0.002)
    """

    model: str | None = _option(
        None, "Essentials", "Model: resnet20, resnet32, resnet44, resnet56 or vit-mini."
    )
    data: str | None = _option(None, "Essentials", "Data set: a folder, or the name 'cifar10' or 'digits'.")
    setting: str = _option("bw", "Essentials", "fp (full precision) or bw (1-bit weights).")
    method: str | None = _option(
        None, "Essentials", "A name that 'proxconnect methods' lists; default: bnn++ for bw, fp for fp."
    )
    epochs: int = _option(10, "Essentials", "Passes over the training data.")
    init: str | None = _option(None, "Essentials", "Full-precision checkpoint (or run folder) to start from.")
    seed: int = _option(
        0, "Essentials", "Seed of the initial weights, the order of the data and the augmentation."
    )

    pair: str | None = _option(
        None, "Binarization", "A pair of your own instead of --method, as module:object."
    )
    scale: str = _option("channel", "Binarization", "Scale of the 1-bit weights: channel, tensor or none.")
    binarize_all: bool = _option(False, "Binarization", "Binarize the first and the last layer too.")
    stages: str | None = _option(
        None,
        "Binarization",
        "What is quantized for how many epochs, such as activations:10,both:20 (also: none, weights); "
        "the learning rate starts anew in each.",
    )

    mu_schedule: str = _option(
        "exponential", "Sharpness", "How the sharpness mu moves: constant, linear or exponential."
    )
    mu_start: float = _option(1.0, "Sharpness", "Sharpness at first.")
    mu_end: float = _option(60.0, "Sharpness", "Sharpness at the end.")
    mu_fraction: float = _option(
        0.85, "Sharpness", "Share of the steps after which the sharpness has reached its end."
    )

    batch_size: int = _option(128, "Optimization", "Images per step, over all devices together.")
    optimizer: str | None = _option(
        None,
        "Optimization",
        "sgd (momentum 0.9, Nesterov), adam or adamw; default: sgd for full-precision ResNets, else adam.",
    )
    lr: float | None = _option(
        None,
        "Optimization",
        "Peak learning rate (5 % linear warm-up, cosine to 0); default: sgd 0.1, adam 2e-3, adamw 1e-3.",
    )
    latent_lr: float | None = _option(
        None,
        "Optimization",
        "Peak learning rate of the latent weights, with adam and adamw times their scale; default: --lr.",
    )
    weight_decay: float | None = _option(
        None,
        "Optimization",
        "Weight decay of all but the latent weights; default: sgd 5e-4, adam 0, adamw 0.05.",
    )
    latent_weight_decay: float = _option(0.0, "Optimization", "Weight decay of the latent weights.")
    latent_clip: float | None = _option(
        None, "Optimization", "Bound of the normalised latent weights; default: none."
    )

    teacher: str | None = _option(
        None, "Distillation", "Full-precision checkpoint (or run folder) to learn from as well."
    )
    distill_weight: float = _option(
        0.5, "Distillation", "Share of the loss that asks for the teacher's logits, not for the labels."
    )
    distill_temperature: float = _option(4.0, "Distillation", "Temperature that softens the logits of both.")
    distill_features: str | None = _option(
        None, "Distillation", "Modules whose outputs should match too, such as blocks.2,blocks.5."
    )
    distill_feature_weight: float = _option(1.0, "Distillation", "Weight of the features in the loss.")

    image_size: int | None = _option(None, "Data", "Resize the images of a folder to this height and width.")
    limit_train_batches: int | None = _option(None, "Data", "Train on at most so many batches an epoch.")
    limit_val_batches: int | None = _option(None, "Data", "Validate on at most so many batches.")

    accelerator: str = _option("auto", "Hardware", "As Lightning names it: auto, cpu, gpu, ...")
    devices: int = _option(1, "Hardware", "How many to use; each takes its part of every batch.")
    strategy: str = _option("auto", "Hardware", "As Lightning names it: auto, ddp, ...")

    def resolved(self) -> TrainConfig:
        """A copy with every default filled in, checked.

        Raises:
            TrainingError: a value is unknown, out of range or contradicts another.
        """
        config = self._with_method()
        convolutional = str(self.model).startswith("resnet")
        optimizer = self.optimizer or ("sgd" if self.setting == "fp" and convolutional else "adam")
        config = replace(config, optimizer=optimizer)
        check_names(config)
        config = replace(
            config,
            # Whole, so that a run can be resumed from another folder.
            teacher=None if self.teacher is None else str(Path(self.teacher).expanduser().resolve()),
            lr=_LEARNING_RATES[optimizer] if self.lr is None else self.lr,
            weight_decay=_WEIGHT_DECAYS[optimizer] if self.weight_decay is None else self.weight_decay,
        )
        check_numbers(config)
        check_teacher(config)
        _ = config.stage_list  # refuses what it cannot read
        return config

    def _with_method(self) -> TrainConfig:
        if self.pair is None:
            return replace(self, method=self.method or ("fp" if self.setting == "fp" else "bnn++"))
        name = own_pair(self.pair).name
        if self.method not in (None, name):
            raise TrainingError(f"give either method ({self.method!r}) or pair ({self.pair!r}), not both")
        return replace(self, method=name)

    @property
    def binarize(self) -> BinarizeConfig | None:
        """How the model's layers are binarized; None for full precision."""
        if self.setting == "fp":
            return None
        scale = None if self.scale == "none" else self.scale
        method = self.method if self.pair is None else own_pair(self.pair)
        return BinarizeConfig.from_setting(self.setting, method=method, scale=scale)

    @property
    def stage_list(self) -> tuple[Stage, ...]:
        """The stages of the run: one, with everything quantized, unless ``stages`` says otherwise."""
        if self.stages is None:
            return (Stage("both", self.epochs),)
        return read_stages(self.stages, setting=self.setting, epochs=self.epochs)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The modules that ``distill_features`` names."""
        return tuple(name.strip() for name in (self.distill_features or "").split(",") if name.strip())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`; options that an older release did not have take their defaults.

        Raises:
            TrainingError: a key is unknown.
        """
        names = [each.name for each in fields(cls)]
        for key in values:
            if key not in names:
                raise TrainingError(unknown_name("configuration key", key, names))
        return cls(**values)
