"""Run a packed file as a module: its graph, over its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from proxconnect.base.eager import differentiated, differentiated_forwards, traced
from proxconnect.engine._kernel_choice import UNPACKED
from proxconnect.engine._precision import EXACT
from proxconnect.engine.fusion import fuse, resolve_fused
from proxconnect.engine.weight import PackedWeight
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import Header, PackedFile
from proxconnect.graph import MAX_BYTES, Graph, Interpreter, SizeCheck, bound, from_json, to_json
from proxconnect.graph.graph import MemoryFormat, leaves, map_leaves
from proxconnect.graph.interpreter import Observer


class Network(nn.Module):
    """The network of a packed file; needs none of its author's code.

    Parameters, buffers and packed weights lie under their own names in ``network.model``. With ``"fast"``
    kernels, a graph that is rewritten for them runs: constants are folded when the network is made, moved, or
    given another state dictionary. The graph as it is stored runs on other devices than the CPU, where a
    gradient is wanted, and with ``"reference"`` kernels; binary weights are then unpacked while the operator
    that uses them runs.

    Images are channels_last inside of the rewritten graph wherever that is faster. Inputs may be contiguous
    or channels_last; of contiguous inputs come contiguous outputs.

    Args:
        packed: a checked file with a graph.
        kernels: ``"fast"`` or ``"reference"``.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`.
        max_bytes: most bytes that the values of one sample may take at once.
        precision: ``"exact"``, ``"fast"`` or ``"fastest"``, see :func:`proxconnect.load`; it does not choose
            the activations here.

    Attributes:
        graph: the network as data.
        kernels: by name, the kernel of each binary weight, such as ``"w1a8"``, or ``"unpacked"``.

    Raises:
        FormatError: there is no graph, or it breaks the rules of ``docs/format.md``, or its values take more
            than ``max_bytes``.
    """

    def __init__(
        self,
        packed: PackedFile,
        kernels: str = "fast",
        activations: str | None = None,
        max_bytes: int = MAX_BYTES,
        precision: str = EXACT,
    ) -> None:
        super().__init__()
        self.header: Header = packed.header
        raw, info = packed.graph_json(), packed.header.graph
        if raw is None or info is None:
            raise FormatError(
                "the file has weights but no graph; load it into a model: pc.load(path, model=your_model)"
            )
        self._max_bytes = max_bytes
        self._read(raw)
        self.model = nn.Module()
        self._owners: dict[str, tuple[nn.Module, str]] = {}
        for name in self.header.binary:
            self._add(name, packed_weight(packed, name, kernels))
        for name, tensor in self.header.dense.items():
            dense = packed.dense(name)
            self._add(name, nn.Parameter(dense, requires_grad=False) if tensor.role == "parameter" else dense)
        self._activations, self._exact = activations, precision == EXACT
        self._shapes = {names: check.shapes() for names, check in self._checks.items()}
        self._fuse()
        self.register_load_state_dict_post_hook(_fuse_again)  # type: ignore[no-untyped-call]
        self.eval()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of the outputs, if the file has them."""
        return self.header.classes

    @property
    def preprocessing(self) -> Mapping[str, Any] | None:
        """The steps that turn an image into an input, if the file has them."""
        return self.header.preprocessing

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """The measurements of the packed network, if the file has them."""
        return self.header.metrics

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the network's output, in the structure that the model gave; dataclasses are dicts.

        Args:
            inputs: tensors by place, or one mapping of tensors by name.
            named: tensors by name.

        Raises:
            ProxConnectError: number, names, dtype, layout or sizes of the inputs are not those of the graph,
                an input is on another device than the network, or the values take more than ``max_bytes``
                for each sample.
        """
        given = bound(self.graph, inputs, named)
        tensors = tuple(given.values())
        if not traced():
            self._check_devices(given)
        if not self._fused or self._wants_gradient(tensors):
            return self._stored[tuple(given)].run(tensors, self._lookup)
        output = self._fused[tuple(given)].run(tensors, self._lookup)
        if self._names_formats or not all(map(Tensor.is_contiguous, tensors)):
            return output
        return map_leaves(_contiguous, output)

    def observe(self, inputs: tuple[Tensor, ...], observer: Observer) -> None:
        """Run the stored graph once and show ``observer`` every operator with its arguments and result."""
        self._stored[self.graph.names].run(inputs, self._lookup, observer)

    def observe_fused(self, inputs: tuple[Tensor, ...], observer: Observer) -> None:
        """Run the rewritten graph once, or the stored one where there is none, and show every operator."""
        forms = self._fused or self._stored
        forms[self.graph.names].run(inputs, self._lookup, observer)

    def _read(self, raw: bytes) -> None:
        """Read and check the graph."""
        info = self.header.graph
        assert info is not None
        names = {*self.header.binary, *self.header.dense}
        self.graph: Graph = from_json(raw, info.inputs, names, info.sizes)
        forms = (self.graph, *self.graph.variants)
        self._checks = {form.names: SizeCheck(form, self._stand_in, self._max_bytes) for form in forms}
        self._stored = {form.names: Interpreter(form, check=self._checks[form.names]) for form in forms}
        arguments = leaves([(node.args, node.kwargs) for form in forms for node in form.nodes])
        self._names_formats = any(isinstance(leaf, MemoryFormat) for leaf in arguments)

    def __getstate__(self) -> dict[str, Any]:
        # A pickle holds the graph as a file does, and no function of torch: these cannot be pickled.
        state = self.__dict__ | {"graph": to_json(self.graph)}
        del state["_checks"], state["_stored"], state["_fused"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        raw = state.pop("graph")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._read(raw)
        self._fuse()

    def _fuse(self) -> None:
        """Rewrite the graph for kernels, if they may compute with every weight as it is now."""
        weights = {name: cast(PackedWeight, self.model.get_submodule(name)) for name in self.header.binary}
        self._fused: dict[tuple[str, ...], Interpreter] = {}
        self._devices = {x.device for x in (*self.model.parameters(), *self.model.buffers())}
        self.kernels = dict.fromkeys(weights, UNPACKED)
        self.unfused: dict[int, str] = {}
        if weights and all(weight.on_kernels for weight in weights.values()):
            for form in (*self.graph.variants, self.graph):
                shapes, check = self._shapes[form.names], self._checks[form.names]
                fused = fuse(form, weights, self._lookup, shapes, self._activations, self._exact)
                self._fused[form.names] = Interpreter(fused.graph, resolve_fused, check)
                self.kernels |= fused.kernels
                self.unfused = fused.unfused

    def _check_devices(self, given: Mapping[str, Any]) -> None:
        for name, x in given.items():
            if isinstance(x, Tensor) and self._devices and x.device not in self._devices:
                where = " and ".join(sorted(map(str, self._devices)))
                raise ProxConnectError(
                    f"input {name!r} is on {x.device} and the network on {where}: move one of them with .to()"
                )

    def _wants_gradient(self, inputs: tuple[Tensor, ...]) -> bool:
        if not torch.is_grad_enabled() and not differentiated_forwards():
            return False
        tensors = (*inputs, *(getattr(owner, name) for owner, name in self._owners.values()))
        return differentiated(*(tensor for tensor in tensors if isinstance(tensor, Tensor)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        dtype = fn(torch.empty(0, dtype=torch.float32, device="cpu")).dtype
        if dtype != torch.float32:
            raise ProxConnectError(
                f"a network from a packed file computes in float32 and cannot be moved to {dtype}; run it "
                "under torch.autocast, or load the file into a model of yours: pc.load(path, model=model)"
            )
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fuse()
        return self

    def _lookup(self, name: str) -> Tensor:
        owner, attribute = self._owners[name]
        found = getattr(owner, attribute)
        return found() if isinstance(found, PackedWeight) else found  # type: ignore[no-any-return]

    def _stand_in(self, name: str) -> Tensor:
        """Make a tensor like the one of this name, without data."""
        owner, attribute = self._owners[name]
        found = getattr(owner, attribute)
        shape = found.form.shape if isinstance(found, PackedWeight) else found.shape
        return torch.empty(shape, dtype=found.dtype, device="meta")

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


def _contiguous(output: Any) -> Any:
    """Lay images out as torch's operators do if their inputs are contiguous: kernels prefer channels_last."""
    images = isinstance(output, Tensor) and output.ndim == 4
    last = images and output.is_contiguous(memory_format=torch.channels_last)
    return output.contiguous() if last else output


def _fuse_again(network: nn.Module, keys: object) -> None:
    cast(Network, network)._fuse()


def packed_weight(packed: PackedFile, name: str, kernels: str) -> PackedWeight:
    """Take the binary weight ``name`` of a file."""
    form = packed.header.binary[name]
    return PackedWeight(packed.tensors[f"{name}.bits"], packed.tensors[f"{name}.scale"], form, kernels)
