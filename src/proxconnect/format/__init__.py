"""The bytes of a packed file: bits, header, container and validation. ``docs/format.md`` specifies them."""

from __future__ import annotations

from proxconnect.format._json import strict_json
from proxconnect.format.bits import pack_bits, unpack_bits
from proxconnect.format.container import Contents, read_contents
from proxconnect.format.header import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    InputSpec,
    SizeRange,
    binary_fields,
    binary_tensor,
)
from proxconnect.format.layout import StoredTensor, stored_dtypes, torch_dtype
from proxconnect.format.packed_file import PackedFile, compressed_graph, decode, encode, read, write
from proxconnect.format.weights import check_scale, check_weight_bits, pack_weight, unpack_weight

__all__ = [
    "BinaryTensor",
    "Contents",
    "DenseTensor",
    "GraphInfo",
    "Header",
    "InputSpec",
    "PackedFile",
    "SizeRange",
    "StoredTensor",
    "binary_fields",
    "binary_tensor",
    "check_scale",
    "check_weight_bits",
    "compressed_graph",
    "decode",
    "encode",
    "pack_bits",
    "pack_weight",
    "read",
    "read_contents",
    "stored_dtypes",
    "strict_json",
    "torch_dtype",
    "unpack_bits",
    "unpack_weight",
    "write",
]
