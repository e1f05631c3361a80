"""Hardened weights: the notes that a layer keeps about them, and the search for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor, nn

from proxconnect.base.rows import Rows
from proxconnect.layers._tensors import full_name


@dataclass(frozen=True)
class BinarizationInfo:
    """The names of the method and the setting with which a model was binarized."""

    method: str
    setting: str


@dataclass(frozen=True)
class Hardened:
    """The note of a layer about one hardened tensor: ``module.binarization[tensor_name]``."""

    info: BinarizationInfo
    levels: tuple[float, ...]
    rows: Rows


class HardenedWeight(NamedTuple):
    """One hardened tensor of a model: ``module.tensor_name`` of the module with the name ``fqn``."""

    fqn: str
    module: nn.Module
    tensor_name: str
    form: Hardened

    @property
    def name(self) -> str:
        """The tensor's fully qualified name."""
        return full_name(self.fqn, self.tensor_name)

    @property
    def weight(self) -> nn.Parameter:
        """The weight; each element is a level times a scale."""
        return cast(nn.Parameter, getattr(self.module, self.tensor_name))

    @property
    def scale(self) -> Tensor:
        """The scales as they are stored."""
        return cast(Tensor, getattr(self.module, scale_name(self.tensor_name)))


def hardened_weights(model: nn.Module) -> Iterator[HardenedWeight]:
    """Iterate over the hardened tensors of ``model``, in registration order."""
    for fqn, module in model.named_modules():
        for tensor_name, form in remembered(module).items():
            if scale_name(tensor_name) in module._buffers:
                yield HardenedWeight(fqn, module, tensor_name, form)


def scale_name(tensor_name: str) -> str:
    """Return the name of the buffer with the scales of a hardened tensor."""
    return f"{tensor_name}_scale"


def remember(module: nn.Module, tensor_name: str, form: Hardened) -> None:
    """Note the binarization of a tensor of ``module`` in ``module.binarization``."""
    module.binarization = {**remembered(module), tensor_name: form}  # type: ignore[assignment]


def remembered(module: nn.Module) -> dict[str, Hardened]:
    """Return the notes about the tensors of a hardened or packed module, by name."""
    found: dict[str, Hardened] = module.__dict__.get("binarization", {})
    return found


def forget(module: nn.Module) -> None:
    """Make the hardened weights of ``module`` plain parameters again, of the same values, in place."""
    for tensor_name in remembered(module):
        module._buffers.pop(scale_name(tensor_name), None)
        cast(nn.Parameter, getattr(module, tensor_name)).requires_grad_()
    module.__dict__.pop("binarization", None)
