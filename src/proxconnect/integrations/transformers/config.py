"""The quantization configuration under which transformers knows 1-bit models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils.quantization_config import QuantizationConfigMixin

from proxconnect.errors import FormatError, ProxConnectError, shown
from proxconnect.integrations.transformers._records import (
    latents_from_json,
    latents_to_json,
    packed_from_json,
    packed_to_json,
    shared_from_json,
)
from proxconnect.layers import BinarizeConfig
from proxconnect.quantizers import pair_of

QUANT_METHOD = "proxconnect"
VERSION = 1
_PACKED_ACTIVATIONS = ("int8", "int6")


class ProxConnectConfig(QuantizationConfigMixin):
    """The configuration with which ``from_pretrained`` binarizes a model, and that a saved model carries.

    Args:
        method: the method for the weights, one of :func:`proxconnect.methods`.
        group: number of inputs of an output channel that share a scale; None for one scale a channel.
        levels: the levels of the weights, ``(-1, 1)`` or ``(-1, 0, 1)``.
        activations: the inputs of binarized layers: None leaves them in floating point; ``"int8"`` and
            ``"int6"`` have packed layers quantize them, see :func:`proxconnect.pack_`; the name of a method
            makes them -1 and +1 in training too.
        modules_to_not_convert: modules that stay as they are, beside the first layer and the heads: names,
            ends of names or regular expressions, of layers or of modules around them.
        embeddings: binarize the input embeddings and the head as well.
        method_args: keyword parameters of the method.
        version: version of what a saved model adds to its configuration.
        latents: the weights that a saved model trains; ``save_pretrained`` fills it.
        packed: the packed weights of a saved model; ``save_pretrained`` fills it.
        shared: weights of a saved model that are another weight, by name; ``save_pretrained`` fills it.

    Raises:
        ProxConnectError: a value is unknown, or values do not go together.
        FormatError: a saved configuration is of another version, or damaged; the message names the field.

    >>> from proxconnect.integrations.transformers import ProxConnectConfig
    >>> ProxConnectConfig("bnn++", group=128).binarize_config.scale
    128
    """

    def __init__(
        self,
        method: str = "bnn++",
        group: int | None = None,
        levels: Sequence[float] = (-1, 1),
        activations: str | None = None,
        modules_to_not_convert: Sequence[str] | None = None,
        embeddings: bool = False,
        method_args: Mapping[str, Any] | None = None,
        version: int = VERSION,
        latents: Sequence[Mapping[str, Any]] = (),
        packed: Sequence[Mapping[str, Any]] = (),
        shared: Mapping[str, str] | None = None,
        **others: Any,
    ) -> None:
        given = others.pop("quant_method", QUANT_METHOD)
        if type(version) is not int or version != VERSION:
            raise FormatError(
                f"quantization_config: version {shown(version)} is unknown; this release reads {VERSION}: "
                "update proxconnect, or save the model again"
            )
        if others or given != QUANT_METHOD:
            wrong = next(iter(others), "quant_method")
            raise FormatError(f"quantization_config: field {shown(wrong)} is unknown or wrong")
        self.quant_method = QUANT_METHOD
        self.method, self.group, self.levels = method, group, tuple(levels)
        self.activations, self.embeddings = activations, embeddings
        self.modules_to_not_convert = None if modules_to_not_convert is None else list(modules_to_not_convert)
        self.method_args = dict(method_args or {})
        self.version = version
        self.latents = latents_from_json(latents, "quantization_config.latents")
        self.packed = packed_from_json(packed, "quantization_config.packed")
        self.shared = shared_from_json(shared or {}, "quantization_config.shared")
        if activations is not None and self.packed_activations is None:
            pair_of(activations, "activations")  # refuses unknown names
        if not self.is_saved:
            _ = self.binarize_config  # refuses values that are unknown or do not go together
        for name, first in self.shared.items():
            if first not in {*self.latents, *self.packed}:
                raise FormatError(f"quantization_config.shared: {name!r} shares the unknown weight {first!r}")

    @property
    def is_saved(self) -> bool:
        """True for the configuration of a saved model, whose layers are known one by one."""
        return bool(self.latents or self.packed)

    @property
    def packed_activations(self) -> str | None:
        """The argument ``activations`` of :func:`proxconnect.pack_`."""
        return self.activations if self.activations in _PACKED_ACTIVATIONS else None

    @property
    def binarize_config(self) -> BinarizeConfig:
        """The configuration with which layers of a float model are binarized.

        Raises:
            ProxConnectError: a value is unknown, or values do not go together.
        """
        if not isinstance(self.method, str):
            raise ProxConnectError(
                f"method must be the name of a method, not {self.method!r}: with a pair of your own, call "
                "pc.binarize_ on the loaded model"
            )
        return BinarizeConfig(
            self.method,
            self.method_args,
            self.levels,
            scale="channel" if self.group is None else self.group,
            activations=None if self.packed_activations else self.activations,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, from which ``ProxConnectConfig(**fields)`` makes an equal configuration."""
        return {
            **self.__dict__,
            "levels": list(self.levels),
            "latents": latents_to_json(self.latents),
            "packed": packed_to_json(self.packed),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProxConnectConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # its fields may change
