"""Descriptions of binarized weights, as a folder's ``config.json`` holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from proxconnect.errors import FormatError
from proxconnect.format import BinaryTensor, binary_fields, binary_tensor
from proxconnect.format._json import (
    Check,
    build,
    list_of,
    name,
    natural,
    number,
    one_of,
    optional,
    record,
    refusal,
    shape,
    string,
    table,
)
from proxconnect.format.layout import SCALE_DTYPES
from proxconnect.layers import BinarizeConfig
from proxconnect.quantizers import CATALOGUE, ForwardBackward, method

OWN = "own pair: "
"""Beginning of the name of a pair that is not in the catalogue."""


@dataclass(frozen=True)
class PackedRecord:
    """The description of one packed weight.

    Args:
        form: shape and bits.
        scale_dtype: ``"float16"``, ``"bfloat16"`` or ``"float32"``.
        scale_shape: one of ``form.rows.scale_shapes``.
        method: the name of the method with which the weight was trained.
        thresholds: the layer has learned thresholds for its binary input.
    """

    form: BinaryTensor
    scale_dtype: str
    scale_shape: tuple[int, ...]
    method: str
    thresholds: bool = False


def packed_to_json(packed: Mapping[str, PackedRecord]) -> list[dict[str, Any]]:
    """Write the descriptions of packed weights, those that are equal once."""
    alike: dict[PackedRecord, list[str]] = {}
    for weight, each in packed.items():
        alike.setdefault(each, []).append(weight)
    return [
        {**_plain({**asdict(each), "form": binary_fields(each.form)}), "weights": weights}
        for each, weights in alike.items()
    ]


def packed_from_json(value: Any, where: str) -> dict[str, PackedRecord]:
    """Undo :func:`packed_to_json`; a :class:`FormatError` names the field that is wrong."""
    return _ungrouped(value, where, _packed)


def latents_to_json(latents: Mapping[str, BinarizeConfig]) -> list[dict[str, Any]]:
    """Write the configurations of latent weights, those that are equal once."""
    return _grouped((name, _config_to_json(config)) for name, config in latents.items())


def latents_from_json(value: Any, where: str) -> dict[str, BinarizeConfig]:
    """Undo :func:`latents_to_json`.

    Raises:
        FormatError: a field is wrong; the message names it.
        ProxConnectError: a weight was trained with a pair that is not in the catalogue.
    """
    return _ungrouped(value, where, _config)


def shared_from_json(value: Any, where: str) -> dict[str, str]:
    """Check the names of weights that are another weight, by name."""
    shared: dict[str, str] = table(name)(value, where)
    return shared


T = TypeVar("T")


def _grouped(entries: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for weight, fields in entries:
        fields = _plain(fields)
        known = [group for group in groups if group == {**fields, "weights": group["weights"]}]
        group = known[0] if known else {**fields, "weights": []}
        if not known:
            groups.append(group)
        group["weights"].append(weight)
    return groups


def _plain(value: Any) -> Any:
    """Make tuples lists, as JSON will have them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _ungrouped(value: Any, where: str, check: Any) -> dict[str, T]:
    found: dict[str, T] = {}
    if not isinstance(value, list | tuple):
        raise refusal(where, "a list", value)
    for position, group in enumerate(value):
        place = f"{where}[{position}]"
        if not isinstance(group, dict) or "weights" not in group:
            raise refusal(place, "an object with the field 'weights'", group)
        weights = list_of(name)(group["weights"], f"{place}.weights")
        fields = {key: item for key, item in group.items() if key != "weights"}
        for weight in weights:
            if weight in found:
                raise FormatError(f"{place}.weights: {weight!r} is there twice")
            found[weight] = check(fields, place)
    return found


def _packed(fields: dict[str, Any], where: str) -> PackedRecord:
    found: PackedRecord = _PACKED(fields, where)
    if found.scale_shape not in found.form.rows.scale_shapes:
        wanted = " or ".join(str(list(each)) for each in found.form.rows.scale_shapes)
        raise refusal(f"{where}.scale_shape", wanted, list(found.scale_shape))
    return found


_PACKED = record(
    PackedRecord,
    form=binary_tensor,
    scale_dtype=one_of(SCALE_DTYPES),
    scale_shape=shape,
    method=string,
    thresholds=one_of((True, False)),
)


def _config_to_json(config: BinarizeConfig) -> dict[str, Any]:
    fields = {key: getattr(config, key) for key in _CONFIG}
    fields["scale_dtype"] = str(config.scale_dtype).removeprefix("torch.")
    fields["method"] = _pair_name(config.method)
    fields["activations"] = None if config.activations is None else _pair_name(config.activations)
    return fields


def _pair_name(pair: str | ForwardBackward) -> str:
    """Return the name of a pair in the catalogue, or a name that says that it is not there."""
    if isinstance(pair, str):
        return pair
    known = pair.name in CATALOGUE and pair == method(pair.name)
    return pair.name if known else f"{OWN}{pair.name}"


def _scalar(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return list_of(number)(value, where)
    return value if isinstance(value, bool | str) or value is None else number(value, where)


def _scale(value: Any, where: str) -> Any:
    return value if isinstance(value, str) or value is None else natural(value, where)


_CONFIG: dict[str, Check] = {
    "method": string,
    "method_args": table(_scalar),
    "levels": list_of(number),
    "scale": _scale,
    "learn_scale": one_of((True, False)),
    "scale_dtype": one_of(SCALE_DTYPES),
    "activations": optional(string),
    "accumulator_bits": natural,
    "overflow": string,
    "learn_thresholds": one_of((True, False)),
}


def _config(fields: dict[str, Any], where: str) -> BinarizeConfig:
    found: dict[str, Any] = build(dict, fields, where, _CONFIG)
    for pair in (found["method"], found["activations"] or ""):
        if pair.startswith(OWN):
            raise FormatError(
                f"{where}: the layers were trained with a pair of your own, {pair.removeprefix(OWN)!r}, "
                "which a folder cannot hold: build the model, binarize it with the pair, and load the "
                "tensors of the folder's safetensors files with load_state_dict"
            )
    found["scale_dtype"] = getattr(torch, found["scale_dtype"])
    return BinarizeConfig(**found)
