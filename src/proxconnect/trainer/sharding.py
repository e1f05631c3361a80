"""The strategy ``fsdp2``: weights, gradients and optimizer in parts in several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim import Optimizer

from proxconnect.optim import ProxOptimizer

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard_(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide the parameters of a binarized model among the processes of ``mesh``, block by block, in place.

    A block is an entry of an outermost ``nn.Sequential`` or ``nn.ModuleList``. Its weights are whole while it
    computes, and no longer.
    """
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


@torch.no_grad()
def share_buffers_(model: nn.Module) -> None:
    """Give the buffers of ``model`` the values that the first process has."""
    for buffer in model.buffers():
        torch.distributed.broadcast(buffer, src=0)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, ParametrizationList):
            continue
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from (block for block in child if any(True for _ in block.parameters()))
        else:
            yield from _blocks(child)


class FullyShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for ``fully_shard``, with the checkpoints of every other strategy.

    A checkpoint is one file with whole tensors, and the optimizer's state numbers its parameters as
    ``Optimizer.state_dict`` does. A run therefore resumes with any strategy on any number of processes.

    Args:
        processes: the number of processes.
    """

    def __init__(self, processes: int) -> None:
        super().__init__(
            data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
        )

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Gather the state of an optimizer; the processes but the first get nothing."""
        assert self.model is not None
        plain = _plain(optimizer)
        state = _numbered(get_optimizer_state_dict(self.model, _base(plain), options=_WHOLE))
        return {**state, "rule": plain.rule} if state and isinstance(plain, ProxOptimizer) else state

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of any strategy into the parts of this process."""
        assert self.model is not None
        content: dict[str, Any] = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        set_model_state_dict(self.model, content["state_dict"], options=_WHOLE)
        for optimizer, state in zip(self.optimizers, content["optimizer_states"], strict=True):
            base = _base(_plain(optimizer))
            set_optimizer_state_dict(self.model, base, _named(state, base, self.model), options=_WHOLE)
        return content


def _plain(optimizer: Any) -> Optimizer:
    """Return the optimizer inside Lightning's."""
    return getattr(optimizer, "_optimizer", optimizer)  # type: ignore[no-any-return]


def _base(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer whose empty steps, by which PyTorch makes states, move no latent."""
    return optimizer.base if isinstance(optimizer, ProxOptimizer) else optimizer


def _numbered(state: dict[str, Any]) -> dict[str, Any]:
    """Give the parameters of a state numbers in place of names, in the order of the groups."""
    groups = state.get("param_groups", [])
    numbers = {name: number for number, name in enumerate(_listed(groups))}
    return _relabelled(state, numbers) if state else state


def _named(state: dict[str, Any], optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """Give the parameters of a state names in place of numbers, in the order that ``optimizer`` has."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = [names[id(parameter)] for parameter in _listed(optimizer.param_groups)]
    named = _relabelled(state, dict(zip(_listed(state["param_groups"]), held, strict=True)))
    for group, own in zip(named["param_groups"], optimizer.param_groups, strict=True):
        group.update({key: own[key] for key in ("fused", "foreach") if key in own})
    return named


def _relabelled(state: dict[str, Any], labels: dict[Any, Any]) -> dict[str, Any]:
    def labelled(group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "params": [labels[each] for each in group["params"]]}

    return {
        "state": {labels[each]: value for each, value in state["state"].items()},
        "param_groups": [labelled(group) for group in state["param_groups"]],
    }


def _listed(groups: Iterable[dict[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(group["params"] for group in groups))
