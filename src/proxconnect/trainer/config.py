"""The configuration of a training run: every option that decides its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from proxconnect.errors import TrainingError, unknown_name
from proxconnect.layers import BinarizeConfig
from proxconnect.models import model_names
from proxconnect.optim import ADAM_LATENT_LR, MU_FRACTION, SCHEDULES
from proxconnect.quantizers import ForwardBackward, own_pair
from proxconnect.trainer._defaults import (
    absolute_data,
    binarize_config,
    default_batch_size,
    with_defaults,
    with_learning_rates,
)
from proxconnect.trainer._validate import (
    check_binarization,
    check_compile,
    check_numbers,
    check_post_training,
    check_sharded,
    check_teacher,
)
from proxconnect.trainer.stages import Stage, read_stages

HARDWARE = ("accelerator", "devices", "strategy")
"""The options that a resumed run may change: its result does not depend on them, but for rounding."""


def _option(default: Any, panel: str, help_text: str) -> Any:
    return field(default=default, metadata={"panel": panel, "help": help_text})


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of one training run.

    The ``help`` text in the metadata of each field describes it. :meth:`resolved` fills in the fields that
    are None, and :meth:`for_images` the batch size, which depends on the data.

    >>> config = TrainConfig(model="resnet20", data="digits").resolved()
    >>> config.method, config.optimizer, config.lr
    ('bnn++', 'adam', 0.002)
    """

    model: str | None = _option(
        None,
        "Essentials",
        f"Model: {', '.join(model_names())}, or timm:NAME for one of timm; default: that of --init.",
    )
    data: str | None = _option(
        None,
        "Essentials",
        "Data set: a folder, the name 'cifar10' or 'digits', or hf:NAME of Hugging Face; default: that of "
        "--init.",
    )
    setting: str = _option(
        "bw",
        "Essentials",
        "fp (full precision), bw (1-bit weights), bwa (activations too) or bwaa (and narrow accumulators).",
    )
    method: str | None = _option(
        None,
        "Essentials",
        "Method that 'proxconnect methods' lists; default: bnn++, or pc with --rule rpc, bc with --rule pq, "
        "fp with --setting fp.",
    )
    epochs: int = _option(
        10, "Essentials", "Passes over the training data; 0 binarizes --init as it is and settles BatchNorm."
    )
    init: str | None = _option(None, "Essentials", "Full-precision checkpoint (or run folder) to start from.")
    seed: int = _option(
        0, "Essentials", "Seed of the initial weights, the order of the data and the augmentation."
    )
    pretrained: bool = _option(
        False, "Essentials", "Start a model timm:NAME from its pretrained weights, which timm downloads."
    )

    pair: str | None = _option(
        None, "Binarization", "A pair of your own instead of --method, as module:object."
    )
    rule: str | None = _option(
        None,
        "Binarization",
        "Step rule: pc, rpc (reverse ProxConnect), pq (ProxQuant) or fp (quantized after training); "
        "default: pc.",
    )
    levels: str = _option("-1,1", "Binarization", "Levels of the weights, such as -1,0,1.")
    scale: str = _option(
        "channel",
        "Binarization",
        "Scale of the weights: channel, tensor, none, or the number of inputs that share one.",
    )
    learn_scale: bool = _option(False, "Binarization", "Learn the scale instead of taking the mean of |w|.")
    recalibrate: bool = _option(
        False,
        "Binarization",
        "At the end, settle BatchNorm on training images in the hardened network; with --sensitivity, for "
        "each layer, which is the default there.",
    )
    binarize_all: bool = _option(False, "Binarization", "Binarize the first and the last layer too.")
    keep: str | None = _option(
        None,
        "Binarization",
        "Layers to leave in full precision beside the first and the last, such as blocks.0.conv1,head; "
        "--sensitivity recommends some.",
    )
    stages: str | None = _option(
        None,
        "Binarization",
        "Stages, each with what it quantizes and its epochs, such as activations:10,both:20 (also: none, "
        "weights); the learning rate starts again in each stage.",
    )

    activations: str | None = _option(
        None, "Activations", "Method of the activations in bwa and bwaa; default: bnn."
    )
    learn_thresholds: bool = _option(False, "Activations", "Learn a threshold for each channel.")
    accumulator_bits: int | None = _option(
        None, "Activations", "Width of the accumulators in bwaa, 4 to 16 bits; default: 8."
    )
    overflow: str = _option("wrap", "Activations", "Treatment of sums that do not fit: wrap or saturate.")
    overflow_penalty: float = _option(
        0.0, "Activations", "Weight in the loss of the mean excess of sums beyond their accumulator."
    )
    block: str | None = _option(
        None, "Activations", "Block of a ResNet: basic or bireal; default: bireal for bwa and bwaa."
    )
    nonlinearity: str | None = _option(
        None,
        "Activations",
        "Nonlinearity of a ResNet: relu, prelu, rprelu, hardtanh or none; default: relu, or rprelu for bwa "
        "and bwaa.",
    )

    mu_schedule: str | None = _option(
        None,
        "Sharpness",
        f"Schedule of the sharpness mu: {', '.join(SCHEDULES)}; default: the one that suits the method.",
    )
    mu_start: float | None = _option(
        None, "Sharpness", "First sharpness; default: the one that suits the method."
    )
    mu_end: float | None = _option(
        None, "Sharpness", "Last sharpness; default: the one that suits the method, 300 for bnn++."
    )
    mu_fraction: float = _option(
        MU_FRACTION, "Sharpness", "Share of the steps after which the sharpness has reached its end."
    )

    batch_size: int | None = _option(
        None,
        "Optimization",
        "Images per step, over all devices together; default: from 8 to 128, so that an epoch has 32 steps "
        "or more if it can.",
    )
    optimizer: str | None = _option(
        None,
        "Optimization",
        "sgd (momentum 0.9, Nesterov), adam or adamw; default: sgd for full-precision ResNets, else adam.",
    )
    lr: float | None = _option(
        None,
        "Optimization",
        "Peak learning rate (5 % linear warm-up, cosine to 0); default: sgd 0.1 for a batch of "
        "128 and in proportion for others, adam 2e-3, adamw 1e-3.",
    )
    latent_lr: float | None = _option(
        None,
        "Optimization",
        "Peak learning rate of the latent weights, with adam and adamw times their scale; default: "
        f"{ADAM_LATENT_LR:g}; with sgd or another rule than pc, --lr.",
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
        None, "Distillation", "Full-precision checkpoint (or run folder) of a teacher."
    )
    distill_weight: float = _option(
        0.5, "Distillation", "Share of the loss that compares with the teacher's logits, not with the labels."
    )
    distill_temperature: float = _option(4.0, "Distillation", "Temperature that softens the logits of both.")
    distill_features: str | None = _option(
        None, "Distillation", "Modules whose outputs should match too, such as blocks.2,blocks.5."
    )
    distill_feature_weight: float = _option(1.0, "Distillation", "Weight of the features in the loss.")

    image_size: int | None = _option(
        None,
        "Data",
        "Resize the images of a folder to this height and width; default: as --init did, or as they are.",
    )
    split: float | None = _option(
        None,
        "Data",
        "Share of each class to validate on, such as 0.2, of a folder <class>/<image> without train/.",
    )
    limit_train_batches: int | None = _option(None, "Data", "Largest number of training batches an epoch.")
    limit_val_batches: int | None = _option(None, "Data", "Largest number of validation batches.")

    accelerator: str = _option("auto", "Hardware", "Accelerator of Lightning: auto, cpu, gpu, ...")
    devices: int = _option(1, "Hardware", "Number of devices, which share each batch; torchrun sets it.")
    strategy: str = _option(
        "auto", "Hardware", "Strategy of several devices: auto, ddp, fsdp2 (weights in parts), ..."
    )
    precision: str = _option(
        "32",
        "Hardware",
        "Number format of convolutions and products in training: 32 (float32), bf16 (bfloat16, by autocast), "
        "or auto, which times some steps and takes the faster format.",
    )
    channels_last: bool = _option(
        True, "Hardware", "Keep images with the channel as the last dimension, which CPUs convolve faster."
    )
    compile: bool = _option(
        False, "Hardware", "Train with torch.compile: it takes minutes at first, and makes steps faster."
    )

    def resolved(self) -> TrainConfig:
        """Return a copy with every default filled in, checked.

        Raises:
            ProxConnectError: a value is unknown, out of range or contradicts another.
        """
        config = with_defaults(self)
        check_numbers(config)
        check_binarization(config)
        check_teacher(config)
        check_post_training(config)
        check_compile(config)
        check_sharded(config)
        _ = config.stage_list  # refuses what it cannot read
        return config

    @property
    def own_pair(self) -> ForwardBackward | None:
        """The pair that the option ``pair`` names, imported; None without that option."""
        return None if self.pair is None else own_pair(self.pair)

    @property
    def binarize(self) -> BinarizeConfig | None:
        """The configuration that binarizes the model's layers; None for full precision."""
        return self.binarize_with(None)

    def binarize_with(self, pair: ForwardBackward | None) -> BinarizeConfig | None:
        """Return :attr:`binarize` with ``pair`` in place of the pair that the option ``pair`` names."""
        return binarize_config(self, pair)

    @property
    def model_args(self) -> dict[str, Any]:
        """The options of the model, such as ``block``."""
        given = {"block": self.block, "nonlinearity": self.nonlinearity}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def stage_list(self) -> tuple[Stage, ...]:
        """The stages of the run: one, with everything quantized, unless ``stages`` says otherwise."""
        if self.stages is None:
            return (Stage("both", self.epochs),) if self.epochs else ()
        return read_stages(self.stages, setting=self.setting, epochs=self.epochs)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The modules that ``distill_features`` names."""
        return _names(self.distill_features)

    @property
    def kept_layers(self) -> tuple[str, ...]:
        """The layers that ``keep`` names."""
        return _names(self.keep)

    @property
    def images_per_step(self) -> int:
        """The batch size, once :meth:`for_images` has filled it in."""
        assert self.batch_size is not None, "the batch size depends on the images: call for_images"
        return self.batch_size

    def same_data(self, data: str) -> bool:
        """Tell whether ``data`` names the data set of this resolved configuration."""
        return self.data == absolute_data(data)

    def for_images(self, count: int) -> TrainConfig:
        """Return a copy with a batch size that suits ``count`` images to train on, unless it has one.

        It is the largest power of two from 8 to 128 of which an epoch has at least 32 steps, or 8. The
        learning rate of sgd, unless given, is in proportion to it.

        >>> [TrainConfig().for_images(count).batch_size for count in (123, 1257, 45_000)]
        [8, 32, 128]
        """
        if self.batch_size is not None:
            return self
        return with_learning_rates(replace(self, batch_size=max(default_batch_size(count), self.devices)))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, as a checkpoint holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Read the dictionary that :meth:`to_dict` makes; options that are missing take their defaults.

        Dictionaries of older releases lack the options that came later, and leave ``latent_lr`` open where
        it was ``lr``.

        Raises:
            TrainingError: a key is unknown, or a value has another type.
        """
        check_options(values, "the configuration")
        config = cls(**values)
        if config.latent_lr is None and config.setting != "fp":
            config = replace(config, latent_lr=config.lr)
        return config


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def check_options(values: Mapping[str, Any], where: str) -> None:
    """Refuse keys that are no fields of :class:`TrainConfig`, and values of another type.

    Args:
        values: options by name.
        where: the origin of the options, for the error.

    Raises:
        TrainingError: the message names the key.
    """
    names = [option.name for option in fields(TrainConfig)]
    hints = get_type_hints(TrainConfig)
    for key, value in values.items():
        if key not in names:
            raise TrainingError(f"{where}: {unknown_name('key', key, names)}")
        kinds = set(get_args(hints[key]) or (hints[key],))
        # TOML writes a whole number of epochs and a whole learning rate alike.
        if float in kinds:
            kinds.add(int)
        if type(value) not in kinds:
            expected = " or ".join(sorted(kind.__name__ for kind in kinds - {type(None)}))
            raise TrainingError(
                f"{where}: {key} is {value!r}, of type {type(value).__name__}; expected {expected}"
            )
