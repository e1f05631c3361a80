"""A packed file as a module: its graph, run over its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from proxconnect.engine.weight import PackedWeight
from proxconnect.errors import FormatError
from proxconnect.format import Header, PackedFile
from proxconnect.graph import Graph, Interpreter, from_json
from proxconnect.graph.interpreter import Observer


class Network(nn.Module):
    """The network of a packed file; needs none of its author's code.

    Binary weights stay packed and are unpacked only while the operator that uses them runs. Parameters,
    buffers and packed weights lie under their own names in ``network.model``.

    Args:
        packed: a checked file with a graph.
        kernels: how packed weights are unpacked, see :class:`PackedWeight`.

    Raises:
        FormatError: there is no graph, or it breaks the rules of ``docs/format.md``.
    """

    def __init__(self, packed: PackedFile, kernels: str = "fast") -> None:
        super().__init__()
        self.header: Header = packed.header
        raw, info = packed.graph_json(), packed.header.graph
        if raw is None or info is None:
            raise FormatError(
                "the file has weights but no graph; load it into a model: pc.load(path, model=your_model)"
            )
        names = {*self.header.binary, *self.header.dense}
        self.interpreter = Interpreter(from_json(raw, info.inputs, names))
        self.model = nn.Module()
        self._owners: dict[str, tuple[nn.Module, str]] = {}
        for name in self.header.binary:
            self._add(name, packed_weight(packed, name, kernels))
        for name, tensor in self.header.dense.items():
            dense = packed.dense(name)
            self._add(name, nn.Parameter(dense, requires_grad=False) if tensor.role == "parameter" else dense)
        self.eval()

    @property
    def graph(self) -> Graph:
        """The network as data."""
        return self.interpreter.graph

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of the outputs, if the file has them."""
        return self.header.classes

    @property
    def preprocessing(self) -> Mapping[str, Any] | None:
        """What turns an image into an input, if the file says so."""
        return self.header.preprocessing

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """What was measured on the packed network, if the file has it."""
        return self.header.metrics

    def forward(self, *inputs: Tensor) -> Any:
        """The network's output, in the structure that the model gave.

        Raises:
            ProxConnectError: number, dtype or sizes of the inputs are not those of the graph.
        """
        return self.interpreter.run(inputs, self._lookup)

    def observe(self, inputs: tuple[Tensor, ...], observer: Observer) -> None:
        """Run once and show ``observer`` every operator with its arguments and result."""
        self.interpreter.run(inputs, self._lookup, observer)

    def _lookup(self, name: str) -> Tensor:
        owner, attribute = self._owners[name]
        found = getattr(owner, attribute)
        return found() if isinstance(found, PackedWeight) else found  # type: ignore[no-any-return]

    def _add(self, name: str, content: PackedWeight | Tensor) -> None:
        *path, attribute = name.split(".")
        owner: nn.Module = self.model
        try:
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            if isinstance(content, PackedWeight):
                owner.add_module(attribute, content)
            elif isinstance(content, nn.Parameter):
                owner.register_parameter(attribute, content)
            else:
                owner.register_buffer(attribute, content)
        except (KeyError, AttributeError) as error:
            raise FormatError(
                f"tensor {name!r}: not a name that a module's tensor can have: {error}"
            ) from None
        self._owners[name] = owner, attribute


def packed_weight(packed: PackedFile, name: str, kernels: str) -> PackedWeight:
    """The binary weight ``name`` of a file."""
    form = packed.header.binary[name]
    return PackedWeight(packed.tensors[f"{name}.bits"], packed.tensors[f"{name}.scale"], form, kernels)
