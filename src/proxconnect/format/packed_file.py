"""A packed file in memory, with its encoding, decoding, writing and reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from proxconnect.base.files import content_of, written_whole
from proxconnect.errors import FormatError
from proxconnect.format import container
from proxconnect.format._compressed import compressed, inflated
from proxconnect.format.header import NO_HASH, Header
from proxconnect.format.layout import GRAPH, StoredTensor, check_table, stored_dtypes, torch_dtype
from proxconnect.format.weights import check_scale, check_weight_bits, is_finite


@dataclass(frozen=True)
class PackedFile:
    """A header and the tensors that it announces, as they lie in the file.

    >>> import torch
    >>> from proxconnect.format import BinaryTensor, Header, PackedFile, decode, encode
    >>> header = Header("1.0", "bc", "bw", binary={"weight": BinaryTensor((1, 3))})
    >>> bits, scale = torch.tensor([[5]], dtype=torch.uint8), torch.tensor([[0.5]], dtype=torch.float16)
    >>> data = encode(PackedFile(header, {"weight.bits": bits, "weight.scale": scale}))
    >>> decode(data).tensors["weight.bits"]
    tensor([[5]], dtype=torch.uint8)
    """

    header: Header
    tensors: Mapping[str, Tensor]

    def dense(self, name: str) -> Tensor:
        """Return the dense tensor ``name`` in its logical dtype."""
        tensor = self.tensors[name]
        logical = torch_dtype(self.header.dense[name].dtype)
        if tensor.dtype == torch.int8 and logical != torch.int8:
            return tensor.to(logical) * self.tensors[f"{name}.dequant"]
        return tensor.to(logical)

    def graph_json(self) -> bytes | None:
        """Decompress the JSON of the graph; None for a file without a graph.

        Raises:
            FormatError: the data do not decompress to exactly the declared size.
        """
        info = self.header.graph
        if info is None:
            return None
        return inflated(self.tensors[GRAPH].numpy().tobytes(), info.raw_bytes, "graph")


def compressed_graph(raw: bytes) -> Tensor:
    """Compress the graph's JSON as the file stores it: with zlib, in one ``uint8`` tensor."""
    return torch.frombuffer(bytearray(compressed(raw)), dtype=torch.uint8)


def encode(packed: PackedFile) -> bytes:
    """Write the bytes of the file; equal models give equal bytes.

    Raises:
        FormatError: header and tensors disagree, or the reader would refuse a value.
    """
    import safetensors.torch

    header = replace(packed.header, sha256=NO_HASH)
    header = Header.from_json(header.to_json())
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in packed.tensors.items()}
    check_table(header, {name: _stored(tensor) for name, tensor in tensors.items()})
    _check_values(header, tensors)
    data: bytes = safetensors.torch.save(tensors, metadata={container.KEY: header.to_json()})
    container.parse_contents(container.header_bytes(data), len(data))
    span = container.hash_span(data)
    return data[: span.start] + container.digest(data).encode() + data[span.stop :]


def decode(data: bytes) -> PackedFile:
    """Read the packed file whose bytes are ``data``, and check everything but the rules of the graph.

    Raises:
        FormatError: the bytes break a rule of ``docs/format.md``; the message names the field.
    """
    import safetensors.torch

    header = container.parse_contents(container.header_bytes(data), len(data)).header
    if data[container.hash_span(data)] != header.sha256.encode() or container.digest(data) != header.sha256:
        raise FormatError(
            "header.sha256 does not match the contents: the file is damaged; fetch or write it again"
        )
    tensors = safetensors.torch.load(data)
    _check_values(header, tensors)
    # PyTorch aligns its own memory to 64 bytes, a reader of bytes does not; on some processors the last bit
    # of a matrix product depends on that.
    return PackedFile(header, {name: tensor.clone() for name, tensor in tensors.items()})


def write(path: Path, packed: PackedFile) -> None:
    """Write the file, whole or not at all.

    Raises:
        FormatError: header and tensors disagree, see :func:`encode`.
        WriteError: the file cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty.safetensors"
    >>> write(path, PackedFile(Header("1.0", "fp", "fp"), {}))
    >>> read(path).header.method
    'fp'
    """
    data = encode(packed)
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def read(path: Path) -> PackedFile:
    """Read and check the file at ``path``; every :class:`FormatError` names the file."""
    try:
        return decode(content_of(path))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _stored(tensor: Tensor) -> StoredTensor:
    return StoredTensor(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def _check_values(header: Header, tensors: Mapping[str, Tensor]) -> None:
    for name, weight in header.binary.items():
        check_weight_bits(tensors[f"{name}.bits"], weight, f"tensor '{name}.bits'")
        check_scale(tensors[f"{name}.scale"], f"tensor '{name}.scale'")
    for name, tensor in header.dense.items():
        if tensor.dtype == "bool" and (tensors[name].view(torch.uint8) > 1).any():
            raise FormatError(f"tensor {name!r}: a bool must be stored as 0 or 1")
        if tensor.dtype != "int8" and stored_dtypes(header, name) == ("int8",):
            check_scale(tensors[f"{name}.dequant"], f"tensor '{name}.dequant'")
        elif tensor.role == "parameter" and not is_finite(tensors[name]):
            raise FormatError(f"tensor {name!r}: NaN or infinite values")
