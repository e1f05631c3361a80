"""What to binarize a layer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.quantizers import ForwardBackward, method

SETTINGS = ("bw",)
SCALES = ("channel", "tensor", None)
SCALE_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class BinarizeConfig:
    """How the weights of a layer become one bit each: ``w = alpha F(w*/s)``.

    Args:
        method: a name from :func:`proxconnect.methods` or a :class:`ForwardBackward` of one's own.
        method_args: keyword parameters of the named method.
        levels: the quantization set ``Q``; this release has ``(-1, 1)``.
        scale: ``alpha`` is the mean of ``|w*|`` per output channel (``"channel"``), of the whole tensor
            (``"tensor"``), or 1 (``None``). The fixed ``s`` is that mean when the layer is binarized, so that
            ``mu`` means the same in every layer.
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
    levels: tuple[int, ...] = (-1, 1)
    scale: str | None = "channel"
    scale_dtype: torch.dtype = torch.float16
    activations: str | ForwardBackward | None = None
    accumulator_bits: int = 32
    overflow: str = "wrap"

    def __post_init__(self) -> None:
        if self.pair.name == "fp":
            raise ProxConnectError(
                "method 'fp' leaves weights as they are: do not binarize, or choose another"
            )
        if self.scale not in SCALES:
            raise ProxConnectError(f"scale must be 'channel', 'tensor' or None, not {self.scale!r}")
        if self.scale_dtype not in SCALE_DTYPES:
            raise ProxConnectError(f"scale_dtype must be one of {SCALE_DTYPES}, not {self.scale_dtype!r}")
        fixed = {"levels": (-1, 1), "activations": None, "accumulator_bits": 32, "overflow": "wrap"}
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
        return method(self.method, **self.method_args)

    @classmethod
    def from_setting(cls, setting: str, **values: Any) -> BinarizeConfig:
        """The configuration of a setting: ``"bw"`` has 1-bit weights and float activations.

        >>> BinarizeConfig.from_setting("bw", method="bnn+").scale
        'channel'
        """
        if setting not in SETTINGS:
            raise ProxConnectError(unknown_name("setting", setting, SETTINGS))
        return cls(**values)
