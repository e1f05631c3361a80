"""Say which maps have a compiled form, which does in one pass what takes torch several.

Compiled are the catalogue's maps with levels -1 and 1, for dense float32 tensors on the CPU. The maps
themselves compute all else, and all that a compiler, a mode or a function transform has to see. The two are
equal for sign, hard tanh, PARQ, binary relax and the polynomial; values and slopes of the others, and means
of magnitudes, agree within a few units in the last place.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from proxconnect.kernels import CompiledMap, MapKind, TabulatedFunction, TabulatedMap
from proxconnect.quantizers import (
    ForwardBackward,
    binary_relax,
    hard_tanh,
    identity,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    polynomial,
    reste,
    sign,
    sign_swish,
    tanh,
)
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Slope

_COMPILED: dict[Elementwise, CompiledMap] = {
    identity: CompiledMap(MapKind.identity),
    sign: CompiledMap(MapKind.sign),
    hard_tanh: CompiledMap(MapKind.ramp),
    parq(): CompiledMap(MapKind.ramp),
    linear_quantizer(): CompiledMap(MapKind.ramp, 1.0),  # no less steep than at mu = 1
    binary_relax(): CompiledMap(MapKind.binary_relax),
    polynomial: CompiledMap(MapKind.polynomial),
    tanh: CompiledMap(MapKind.tanh),
    sign_swish: CompiledMap(MapKind.sign_swish),
    monotone_sign_swish: CompiledMap(MapKind.monotone_sign_swish),
    reste(): CompiledMap(MapKind.reste, 0.1, 1.5),
}


class CompiledPair(NamedTuple):
    """A pair, with the compiled forms of ``F`` and of the map whose slope ``B`` is, where they have one."""

    pair: ForwardBackward
    value: CompiledMap | None
    slope: CompiledMap | None


@runtime_checkable
class Tabulated(Protocol):
    """A forward quantizer with a table of itself and one of a backward quantizer, as of a repaired pair."""

    @property
    def integrates(self) -> Elementwise:
        """The backward quantizer."""

    def value_table(self, mu: float) -> TabulatedFunction:
        """Return the forward quantizer at one sharpness."""

    def slope_table(self, mu: float) -> TabulatedFunction:
        """Return the backward quantizer at one sharpness."""


def compiled_pair(pair: ForwardBackward) -> CompiledPair:
    """Find the compiled forms of a pair's maps."""
    forward: object = pair.forward
    if isinstance(forward, Tabulated) and forward.integrates == pair.backward:
        tables = (forward.value_table, forward.slope_table)
        return CompiledPair(pair, *(TabulatedMap(table=table) for table in tables))
    slope = pair.backward.map if isinstance(pair.backward, Slope) else None
    return CompiledPair(pair, _compiled(pair.forward), _compiled(slope))


def _compiled(map: Elementwise | None) -> CompiledMap | None:
    return _COMPILED.get(map) if isinstance(map, ElementwiseMap) else None
