"""What to binarize a layer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers import CATALOGUE, ForwardBackward, method, projector

SETTINGS = ("bw",)
SCALE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class BinarizeConfig:
    """How the weights of a layer become binary, or take one of a few levels: ``w = alpha F(w*/s)``.

    Args:
        method: a name from :func:`proxconnect.methods` or a :class:`ForwardBackward` of one's own.
        method_args: keyword parameters of the named method.
        levels: the quantization set ``Q``, in increasing order, for methods that have one; a pair of one's
            own is taken to tend to these levels. Hardening takes the nearest. Packed files hold ``(-1, 1)``
            and ``(-1, 0, 1)``.
        scale: ``alpha`` is the mean of ``|w*|`` per output channel (``"channel"``), per group of ``N`` inputs
            of an output channel (the number ``N``; inputs are counted along all dimensions but the
            channel's, and the last group of a channel may be smaller), of the whole tensor (``"tensor"``),
            or 1 (``None``). The fixed ``s`` is that mean when the layer is binarized, so that ``mu`` means
            the same in every layer.
        learn_scale: whether ``alpha`` is a parameter that starts at that mean and is learned, instead of the
            present mean.
        scale_dtype: what ``alpha`` is rounded to by :func:`proxconnect.harden_` and stored as.
        activations: a pair for the activations; this release has ``None`` (full precision).
        accumulator_bits: width of the accumulator; this release has 32.
        overflow: what an accumulator of fewer bits would do: ``"wrap"``.

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

    def __post_init__(self) -> None:
        projector(self.levels)  # refuses what is no quantization set
        object.__setattr__(self, "levels", tuple(self.levels))
        if self.pair.name == "fp":
            raise ProxConnectError(
                "method 'fp' leaves weights as they are: do not binarize, or choose another"
            )
        if self.scale not in ("channel", "tensor", None) and not (type(self.scale) is int and self.scale > 0):
            raise ProxConnectError(
                "scale must be 'channel', 'tensor', None or a positive number of inputs that share one, "
                f"not {self.scale!r}"
            )
        if self.learn_scale and self.scale is None:
            raise ProxConnectError("scale=None has no scale to learn: set scale or learn_scale=False")
        if self.scale_dtype not in SCALE_DTYPES:
            raise ProxConnectError(f"scale_dtype must be one of {SCALE_DTYPES}, not {self.scale_dtype!r}")
        fixed = {"activations": None, "accumulator_bits": 32, "overflow": "wrap"}
        for name, available in fixed.items():
            if getattr(self, name) != available:
                raise ProxConnectError(
                    f"{name} must be {available!r} in this release, not {getattr(self, name)!r}"
                )

    @property
    def pair(self) -> ForwardBackward:
        """The forward-backward pair that ``method`` stands for."""
        if isinstance(self.method, ForwardBackward):
            return self.method
        if not isinstance(self.method, str):
            raise ProxConnectError(f"method must be a name or a ForwardBackward, not {self.method!r}")
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
        """How many inputs share a scale; None where a scale is a channel's or the whole tensor's."""
        return self.scale if isinstance(self.scale, int) else None

    @classmethod
    def from_setting(cls, setting: str, **values: Any) -> BinarizeConfig:
        """The configuration of a setting: ``"bw"`` has 1-bit weights and float activations.

        >>> BinarizeConfig.from_setting("bw", method="bnn+").scale
        'channel'
        """
        if setting not in SETTINGS:
            raise ProxConnectError(unknown_name("setting", setting, SETTINGS))
        return cls(**values)
