"""Everything that decides what a training run computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from proxconnect.errors import TrainingError, unknown_name
from proxconnect.layers import SETTINGS, BinarizeConfig
from proxconnect.models import model_names
from proxconnect.optim import SCHEDULES
from proxconnect.quantizers import methods, own_pair

OPTIMIZERS = ("sgd", "adam", "adamw")
_LEARNING_RATES = {"sgd": 0.1, "adam": 2e-3, "adamw": 1e-3}
_WEIGHT_DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05}


def _option(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class TrainConfig:
    """One training run; the fields' help texts say what each means; :meth:`resolved` fills in what is None.

    >>> config = TrainConfig(model="resnet20", data="digits").resolved()
    >>> config.method, config.optimizer, config.lr
    ('bnn++', 'adam', 0.002)
    """

    model: str | None = _option(None, "Model: resnet20, resnet32, resnet44, resnet56 or vit-mini.")
    data: str | None = _option(None, "Data set: a folder, or the name 'cifar10' or 'digits'.")
    setting: str = _option("bw", "fp (full precision) or bw (1-bit weights).")
    method: str | None = _option(
        None, "A name that 'proxconnect methods' lists; default: bnn++ for bw, fp for fp."
    )
    pair: str | None = _option(None, "A pair of your own instead of --method, as module:object.")
    scale: str = _option("channel", "Scale of the 1-bit weights: channel, tensor or none.")
    binarize_all: bool = _option(False, "Binarize the first and the last layer too.")
    epochs: int = _option(10, "Passes over the training data.")
    batch_size: int = _option(128, "Images per step.")
    optimizer: str | None = _option(
        None,
        "sgd (momentum 0.9, Nesterov), adam or adamw; default: sgd for full-precision ResNets, else adam.",
    )
    lr: float | None = _option(
        None,
        "Peak learning rate (5 % linear warm-up, cosine to 0); default: sgd 0.1, adam 2e-3, adamw 1e-3.",
    )
    latent_lr: float | None = _option(
        None,
        "Peak learning rate of the latent weights, with adam and adamw times their scale; default: --lr.",
    )
    weight_decay: float | None = _option(
        None, "Weight decay of all but the latent weights; default: sgd 5e-4, adam 0, adamw 0.05."
    )
    latent_weight_decay: float = _option(0.0, "Weight decay of the latent weights.")
    latent_clip: float | None = _option(None, "Bound of the normalised latent weights; default: none.")
    mu_schedule: str = _option("exponential", "How the sharpness mu moves: constant, linear or exponential.")
    mu_start: float = _option(1.0, "Sharpness at first.")
    mu_end: float = _option(60.0, "Sharpness at the end.")
    mu_fraction: float = _option(0.85, "Share of the steps after which the sharpness has reached its end.")
    seed: int = _option(0, "Seed of the initial weights, the order of the data and the augmentation.")
    init: str | None = _option(None, "Full-precision checkpoint (or run folder) to start from.")
    image_size: int | None = _option(None, "Resize the images of a folder to this height and width.")
    limit_train_batches: int | None = _option(None, "Train on at most so many batches an epoch.")
    limit_val_batches: int | None = _option(None, "Validate on at most so many batches.")

    def resolved(self) -> TrainConfig:
        """A copy with every default filled in, checked.

        Raises:
            TrainingError: a value is unknown, out of range or contradicts another.
        """
        for name in ("model", "data"):
            if getattr(self, name) is None:
                raise TrainingError(f"a training run needs --{name}")
        _known("model", self.model, model_names())
        _known("setting", self.setting, ("fp", *SETTINGS))
        method = self.method or ("fp" if self.setting == "fp" else "bnn++")
        if self.pair is not None:
            name = own_pair(self.pair).name
            if self.method not in (None, name):
                raise TrainingError(f"give either method ({self.method!r}) or pair ({self.pair!r}), not both")
            method = name
        else:
            _known("method", method, methods())
        if (method == "fp") != (self.setting == "fp"):
            raise TrainingError(
                f"method {method!r} does not fit setting {self.setting!r}: "
                "setting 'fp' goes with method 'fp' and no other"
            )
        convolutional = str(self.model).startswith("resnet")
        optimizer = self.optimizer or ("sgd" if self.setting == "fp" and convolutional else "adam")
        _known("optimizer", optimizer, OPTIMIZERS)
        _known("scale", self.scale, ("channel", "tensor", "none"))
        _known("mu schedule", self.mu_schedule, list(SCHEDULES))
        config = replace(
            self,
            method=method,
            optimizer=optimizer,
            lr=_LEARNING_RATES[optimizer] if self.lr is None else self.lr,
            weight_decay=_WEIGHT_DECAYS[optimizer] if self.weight_decay is None else self.weight_decay,
        )
        config._check_numbers()
        return config

    def _check_numbers(self) -> None:
        at_least = {
            "epochs": 1, "batch_size": 1, "weight_decay": 0, "latent_weight_decay": 0,
            "limit_train_batches": 1, "limit_val_batches": 1, "seed": 0, "image_size": 1,
        }  # fmt: skip
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise TrainingError(f"{name} must be at least {least}, not {value!r}")
        for name in ("lr", "latent_lr", "latent_clip", "mu_start", "mu_end", "mu_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise TrainingError(f"{name} must be a positive number, not {value!r}")
        if self.mu_fraction > 1:
            raise TrainingError(f"mu_fraction is a share of the steps, at most 1, not {self.mu_fraction!r}")

    @property
    def binarize(self) -> BinarizeConfig | None:
        """How the model's layers are binarized; None for full precision."""
        if self.setting == "fp":
            return None
        scale = None if self.scale == "none" else self.scale
        method = self.method if self.pair is None else own_pair(self.pair)
        return BinarizeConfig.from_setting(self.setting, method=method, scale=scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`; options that an older release did not have take their defaults.

        Raises:
            TrainingError: a key is unknown.
        """
        unknown = set(values) - {each.name for each in fields(cls)}
        if unknown:
            raise TrainingError(f"configuration with unknown keys: {sorted(unknown)}")
        return cls(**values)


def _known(kind: str, name: str | None, known: Sequence[str]) -> None:
    if name not in known:
        raise TrainingError(unknown_name(kind, name, known))
