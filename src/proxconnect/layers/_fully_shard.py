"""Parameters of a model that ``fully_shard`` of PyTorch has divided among processes already.

``fully_shard`` notes for each parameter the modules and names where it belongs. It puts the whole parameter
there before a forward, and this process's part afterwards. A parametrization moves a parameter to another
place. PyTorch has no public way to tell ``fully_shard`` of it, so the notes are corrected. If their names are
others than in PyTorch 2.13 and 2.14, a divided model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from torch import nn
from torch.nn.utils import parametrize


class Place(NamedTuple):
    """The place where ``fully_shard`` puts a parameter: the attribute ``name`` of ``module``."""

    module: nn.Module
    name: str


class Divided:
    """The notes of ``fully_shard`` on the parameters of a model; none if it has not been called.

    All parameters lie in parts afterwards, also those that the last forward has left whole.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for module in model.modules() if _is_divided(module)]
        self._notes: list[Any] = []
        for module in self._modules:
            cast(Any, module).reshard()
            self._notes += _notes(module)

    def __bool__(self) -> bool:
        """Tell whether ``fully_shard`` has divided any parameter."""
        return bool(self._notes)

    def known(self) -> set[int]:
        """Return the ids of the parameters and of the modules that ``fully_shard`` has divided."""
        if not self:
            return set()
        held = (place.module._parameters.get(place.name) for note in self._notes for place in _places(note))
        return {id(each) for each in (*self._modules, *held) if each is not None}

    def follow_(self) -> None:
        """Note for each parameter that became the latents of a parametrization that it belongs there."""
        for note in self._notes:
            first, *others = (_present(place) for place in _places(note))
            note.module, note.param_name = first
            note.shared_modules[:] = [place.module for place in others]
            note.shared_param_names[:] = [place.name for place in others]


def _is_divided(module: nn.Module) -> bool:
    # By name, because importing the class takes as long as all of torch.
    return any(base.__name__ == "FSDPModule" for base in type(module).__mro__)


def _notes(module: nn.Module) -> list[Any]:
    try:
        state = cast(Any, module)._get_fsdp_state()
        several = getattr(state, "_fsdp_param_groups", None)
        groups = [state._fsdp_param_group] if several is None else several
        notes = [each._module_info for group in groups if group is not None for each in group.fsdp_params]
        return [note for note in notes if list(_places(note))]
    except AttributeError:
        return []


def _places(note: Any) -> Iterator[Place]:
    yield Place(note.module, note.param_name)
    yield from map(Place, note.shared_modules, note.shared_param_names)


def _present(place: Place) -> Place:
    if not parametrize.is_parametrized(place.module, place.name):
        return place
    return Place(cast(nn.ModuleDict, place.module.parametrizations)[place.name], "original")
