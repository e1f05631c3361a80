"""Rotary positions: ``rope_parameters`` of transformers as metadata of a GGUF file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from proxconnect.errors import ExportError, FormatError, shown

FACTORS = "rope_freqs.weight"
_FACTOR, _ORIGINAL = "rope.scaling.factor", "rope.scaling.original_context_length"
# The keys of a file by the names of their values in ``rope_parameters``.
_KEYS: dict[str, dict[str, str]] = {
    "default": {},
    "linear": {"factor": _FACTOR},
    "yarn": {"factor": _FACTOR, "original_max_position_embeddings": _ORIGINAL},
}
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
KEYS = ("rope.freq_base", "rope.scaling.type", _FACTOR, _ORIGINAL)


def refuse_unknown_rope(rope: Mapping[str, Any]) -> None:
    """Refuse ``rope_parameters`` that a GGUF file cannot say.

    Raises:
        ExportError: the kind is unknown, or there is a parameter beyond those of its kind.
    """
    kind = rope["rope_type"]
    known = {*_KEYS.get(kind, ()), *(("factor", *_LLAMA3) if kind == "llama3" else ())}
    extra = sorted(
        name
        for name, value in rope.items()
        if name not in {"rope_type", "rope_theta", *known}
        and value is not None
        and (name, value) != ("partial_rotary_factor", 1.0)
    )
    if kind not in _KEYS and kind != "llama3":
        raise ExportError(
            f"rope_type {shown(kind)} has no mapping to GGUF here; known: {', '.join(_KEYS)}, llama3"
        )
    if extra:
        raise ExportError(
            f"rope_parameters have {', '.join(extra)}, which a GGUF file of type {kind!r} cannot say"
        )


def rope_metadata(rope: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Write ``rope_parameters`` as metadata; those of Llama 3 are a tensor besides: :func:`rope_factors`."""
    keys = _KEYS.get(rope["rope_type"], {})
    scaling: dict[str, int | float | str] = {"rope.scaling.type": rope["rope_type"]} if keys else {}
    return {"rope.freq_base": float(rope["rope_theta"])} | scaling | {keys[name]: rope[name] for name in keys}


def rope_factors(rope: Mapping[str, Any], head: int) -> npt.NDArray[np.float32] | None:
    """Compute the divisors of the frequencies of Llama 3, of shape ``(head / 2,)``; None for other kinds.

    Frequencies whose wave is longer than the original context over ``low_freq_factor`` are divided by
    ``factor``, those with a wave shorter than it over ``high_freq_factor`` stay, and between them the
    reciprocal of the divisor moves linearly with the number of waves in the context.
    """
    if rope["rope_type"] != "llama3":
        return None
    factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    waves = rope["original_max_position_embeddings"] / (
        2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, head, 2) / head)
    )
    share = np.clip((waves - low) / (high - low), 0, 1)
    divisors: npt.NDArray[np.float32] = (1 / ((1 - share) / factor + share)).astype(np.float32)
    return divisors


def rope_of_metadata(
    values: Mapping[str, Any], factors: npt.NDArray[np.float32] | None, head: int
) -> dict[str, Any]:
    """Read ``rope_parameters`` from the metadata of a file and from its tensor of factors.

    Raises:
        FormatError: the file scales positions in another way.
    """
    kind = values.get("rope.scaling.type", "none")
    kind = "default" if kind == "none" else kind
    if not isinstance(kind, str) or kind not in _KEYS:
        raise FormatError(
            f"rope.scaling.type is {shown(kind)}, which is not read; expected none, linear or yarn"
        )
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 10000.0}
    for name, key in {"rope_theta": "rope.freq_base", **_KEYS[kind]}.items():
        if key in values and not values[key] > 1:
            raise FormatError(f"{key} is {values[key]}; expected more than 1")
        if key in values:
            rope[name] = values[key]
        elif name not in rope:
            raise FormatError(f"rope.scaling.type is {kind!r}, and {key} is missing")
    if factors is None:
        return rope
    rope |= {"rope_type": "llama3", "factor": float(factors.max()), **_LLAMA3}
    expected = rope_factors(rope, head)
    if kind != "default" or expected is None or not np.allclose(factors, expected, rtol=1e-5, atol=0):
        raise FormatError(f"{FACTORS}: these factors are not those of Llama 3, and no others are read")
    return rope
