"""The configuration of a binarized layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.layers.accumulator import ACCUMULATOR_BITS, OVERFLOWS
from proxconnect.quantizers import CATALOGUE, ElementwiseMap, ForwardBackward, method, pair_of, projector

SETTINGS: dict[str, dict[str, Any]] = {
    "bw": {},
    "bwa": {"activations": "bnn"},
    "bwaa": {"activations": "bnn", "accumulator_bits": 8},
}
LEVEL_SIZES = 1e-4, 1e4  # what half precision holds, times scales
LARGEST_GROUP = 2**24  # inputs: as many as a sum of signs may have to be exact in float32
SCALE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class BinarizeConfig:
    """The configuration of a binarized layer: of its weights ``w = alpha F(w*/s)`` and of its input.

    Args:
        method: a name from :func:`proxconnect.methods` or a :class:`ForwardBackward` of one's own.
        method_args: keyword parameters of the named method.
        levels: the quantization set ``Q``, in increasing order, for methods that have one. A pair of one's
            own has to tend to these levels. Hardening takes the nearest level. Packed files hold ``(-1, 1)``
            and ``(-1, 0, 1)``.
        scale: ``alpha`` is the least-squares scale ``<w*, q>/<q, q>`` of the nearest levels ``q``, for
            ``(-1, 1)`` the mean of ``|w*|``, per output channel (``"channel"``), per group of ``N`` inputs
            of an output channel (the number ``N``; inputs are counted along all dimensions but the
            channel's, and the last group of a channel may be smaller), of the whole tensor (``"tensor"``),
            or 1 (``None``). The fixed ``s`` is the mean of ``|w*|`` when the layer is binarized, so that
            ``mu`` means the same in every layer. Weights that are levels times a scale already keep this
            scale: it is their ``s`` and ``alpha``.
        learn_scale: True makes ``alpha`` a parameter, which starts at that scale and is learned.
        scale_dtype: the dtype to which :func:`proxconnect.harden_` rounds ``alpha``, for storage too.
        activations: the pair for the input of each ``Linear`` and ``Conv``, a name or a
            :class:`ForwardBackward`, see :class:`proxconnect.layers.BinaryActivation`; None for full
            precision.
        accumulator_bits: width of the accumulators of layers with binary input: 4 to 16, or 32, which holds
            every sum.
        overflow: the treatment of a sum that does not fit a narrower accumulator: ``"wrap"`` or
            ``"saturate"``, see :class:`proxconnect.layers.Accumulator`.
        learn_thresholds: True gives each channel of the input a learned threshold in place of 0.

    Raises:
        ProxConnectError: a value is unknown or not available.

    >>> BinarizeConfig(method="bc", scale="tensor").pair.name
    'bc'
    """

    method: str | ForwardBackward = "bnn++"
    method_args: Mapping[str, Any] = field(default_factory=dict)
    levels: tuple[float, ...] = (-1, 1)
    scale: str | int | None = "channel"
    learn_scale: bool = False
    scale_dtype: torch.dtype = torch.float16
    activations: str | ForwardBackward | None = None
    accumulator_bits: int = 32
    overflow: str = "wrap"
    learn_thresholds: bool = False

    def __post_init__(self) -> None:
        projector(self.levels)  # refuses what is no quantization set
        object.__setattr__(self, "levels", tuple(self.levels))
        smallest, largest = LEVEL_SIZES
        if not all(level == 0 or smallest <= abs(level) <= largest for level in self.levels):
            raise ProxConnectError(
                f"levels must be 0 or have a size from {smallest:g} to {largest:g}, not {self.levels!r}: "
                "they are multiplied by scales in the dtype of the weights"
            )
        if self.pair.name == "fp":
            raise ProxConnectError(
                "method 'fp' leaves weights as they are: do not binarize, or choose another"
            )
        group = type(self.scale) is int and 0 < self.scale <= LARGEST_GROUP
        if self.scale not in ("channel", "tensor", None) and not group:
            raise ProxConnectError(
                "scale must be 'channel', 'tensor', None or a positive number of inputs that share one, "
                f"at most {LARGEST_GROUP:,} of them, not {self.scale!r}"
            )
        if self.learn_scale and self.scale is None:
            raise ProxConnectError("scale=None has no scale to learn: set scale or learn_scale=False")
        if self.scale_dtype not in SCALE_DTYPES:
            raise ProxConnectError(f"scale_dtype must be one of {SCALE_DTYPES}, not {self.scale_dtype!r}")
        self._check_activations()
        self._check_accumulators()

    def _check_activations(self) -> None:
        pair = self.activation_pair
        if pair is None:
            if self.learn_thresholds:
                raise ProxConnectError(
                    "learn_thresholds=True needs binary activations, such as activations='bnn', not None"
                )
        elif pair.name == "fp":
            raise ProxConnectError("activations 'fp' leaves them as they are: pass None, or another pair")
        elif isinstance(pair.forward, ElementwiseMap) and not _tends_to_sign(pair.forward):
            raise ProxConnectError(
                f"activations must become -1 or +1, which those of {pair.forward.name!r} do not"
            )
        elif self.group is not None:
            raise ProxConnectError(
                f"with binary activations the scale follows the whole sum: scale must be 'channel', 'tensor' "
                f"or None, not {self.scale!r}"
            )

    def _check_accumulators(self) -> None:
        if self.overflow not in OVERFLOWS:
            raise ProxConnectError(unknown_name("overflow", self.overflow, OVERFLOWS))
        if self.accumulator_bits not in ACCUMULATOR_BITS:
            raise ProxConnectError(f"accumulator_bits must be 4 to 16, or 32, not {self.accumulator_bits!r}")
        if self.accumulator_bits == 32:
            return
        need = f"accumulator_bits={self.accumulator_bits} needs sums of -1 and +1"
        if self.activations is None:
            raise ProxConnectError(f"{need}: pass activations, such as activations='bnn', not None")
        if self.levels != (-1, 1):
            raise ProxConnectError(f"{need}: levels must be (-1, 1), not {self.levels!r}")

    @property
    def pair(self) -> ForwardBackward:
        """The forward-backward pair of ``method``."""
        if not isinstance(self.method, str):
            return pair_of(self.method)
        if "levels" in self.method_args:
            raise ProxConnectError("levels are a field of BinarizeConfig, not of method_args")
        if self.method not in CATALOGUE or self.levels == (-1, 1):
            return method(self.method, **self.method_args)
        with_levels = [name for name, entry in CATALOGUE.items() if "levels" in entry.parameters]
        if self.method not in with_levels:
            raise ProxConnectError(
                f"method {self.method!r} has the levels (-1, 1) alone, not {self.levels}; "
                f"methods with any levels: {', '.join(with_levels)}"
            )
        return method(self.method, levels=self.levels, **self.method_args)

    @property
    def group(self) -> int | None:
        """The number of inputs that share a scale; None if a channel or the whole tensor shares one."""
        return self.scale if isinstance(self.scale, int) else None

    @property
    def activation_pair(self) -> ForwardBackward | None:
        """The pair of ``activations``; None for full precision."""
        return None if self.activations is None else pair_of(self.activations, "activations")

    @property
    def setting(self) -> str:
        """The setting: ``"bw"``, ``"bwa"`` or ``"bwaa"``."""
        if self.activations is None:
            return "bw"
        return "bwa" if self.accumulator_bits == 32 else "bwaa"

    @classmethod
    def from_setting(cls, setting: str, **values: Any) -> BinarizeConfig:
        """Make the configuration of a setting.

        ``"bw"`` has 1-bit weights. ``"bwa"`` has 1-bit activations too, by default with ``"bnn"``. ``"bwaa"``
        has narrow accumulators too, by default of 8 bits.

        Raises:
            ProxConnectError: the setting is unknown, or the values make another setting.

        >>> BinarizeConfig.from_setting("bwa", method="bnn+").activations
        'bnn'
        """
        if setting not in SETTINGS:
            raise ProxConnectError(unknown_name("setting", setting, SETTINGS))
        config = cls(**{**SETTINGS[setting], **values})
        if config.setting != setting:
            raise ProxConnectError(
                f"activations={config.activations!r} with accumulator_bits={config.accumulator_bits} "
                f"is setting {config.setting!r}, not {setting!r}"
            )
        return config


def _tends_to_sign(forward: ElementwiseMap) -> bool:
    """Tell whether a pair may tend to the sign; only a step function with other levels is known not to."""
    pieces = () if forward.pieces is None else forward.pieces(1.0)
    if not pieces or any(piece.trend != "flat" for piece in pieces):
        return True
    return {piece.start_value for piece in pieces} == {-1, 1}
