"""The closed list: what inference graphs hold is on it, and it is pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from forward import Forward
from looking import every
from torch import Tensor
from torch.nn import functional as F

from proxconnect.graph import OPERATORS, Interpreter, capture, from_json, to_json
from proxconnect.graph._functional import _may_share
from proxconnect.graph.operators import resolve


def images(n: int) -> Tensor:
    return torch.rand(n, 4, 6, 6, generator=torch.Generator().manual_seed(n)) - 0.4


def leaves(output: Any) -> list[Any]:
    return (
        [leaf for item in output for leaf in leaves(item)] if isinstance(output, tuple | list) else [output]
    )


# By name: what a model may do to images, to be captured and to answer with the same bits.
FORWARDS: dict[str, Callable[[Tensor], Any]] = {
    "instance norm": lambda x: F.instance_norm(x),
    "batch norm of the batch": lambda x: F.batch_norm(x, None, None, training=True),
    "two arguments": lambda x: (torch.min(x, -x), torch.max(x, -x), torch.fmin(x, -x), torch.fmod(x, 0.3)),
    "differences": lambda x: torch.diff(x, dim=-1),
    "shapes of others": lambda x: x.flatten().reshape_as(x),
    "folds": lambda x: F.fold(F.unfold(x, 3, padding=1), (6, 6), 3, padding=1),
    "windows": lambda x: x.unfold(2, 2, 2),
    "rolled windows": lambda x: torch.rot90(x.swapaxes(1, 2).moveaxis(0, 1), 1, (2, 3)),
    "trigonometry": lambda x: (
        x.tan(),
        x.asin(),
        x.acos(),
        x.atan(),
        x.sinh(),
        x.cosh(),
        torch.atan2(x, 1 - x),
    ),
    "logarithms": lambda x: (
        x.abs().log10(),
        x.exp2(),
        torch.logaddexp(x, -x),
        torch.xlogy(x, 0.5),
        x.erfc(),
    ),
    "signs": lambda x: (
        x.sgn(),
        x.signbit(),
        torch.copysign(x, -x),
        torch.heaviside(x, x),
        x.frac(),
        x.fix(),
    ),
    "missing numbers": lambda x: (x.nan_to_num(), x.isfinite(), x.nansum(1), x.nanmean(1)),
    "bits": lambda x: ((x > 0) ^ (x < 0.2), (x > 0).long() << 2, (x * 9).int() & 3, (x * 9).int() ^ 5),
    "comparisons": lambda x: (
        torch.greater(x, 0),
        torch.less_equal(x, -x),
        torch.isclose(x, x),
        x.clip(0, 1),
    ),
    "statistics": lambda x: (
        torch.std_mean(x, 1),
        torch.var(x),
        torch.aminmax(x, dim=1),
        x.median(1),
        x.norm(1, 1),
    ),
    "running results": lambda x: (x.cumprod(1), x.cummax(1), x.logcumsumexp(1), (x > 0).count_nonzero(1)),
    "orders": lambda x: (x.argsort(1), x.msort(), x.kthvalue(2, 1), x.sort(dim=1, stable=True)),
    "joins": lambda x: (
        torch.hstack([x, x]),
        torch.vstack([x, -x]),
        torch.dstack([x, x]),
        torch.block_diag(x[0, 0]),
    ),
    "parts": lambda x: (x.tensor_split([1, 3], 1), x.split([1, 3], 1), torch.atleast_3d(x)),
    "grids": lambda x: F.grid_sample(
        x, F.affine_grid(x[:, :2, 0, :3], (x.shape[0], 4, 3, 3), False), align_corners=False
    ),
    "coordinates": lambda x: [
        x.mean() + g for g in torch.meshgrid(torch.arange(2.0), torch.arange(3.0), indexing="ij")
    ],
    "sizes": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", antialias=True),
    "three dimensions": lambda x: F.interpolate(x[:, None], scale_factor=2, mode="trilinear"),
    "exact neighbours": lambda x: F.interpolate(x, size=(3, 9), mode="nearest-exact"),
    "one dimension": lambda x: F.interpolate(x[:, 0], scale_factor=2, mode="linear"),
    "unpooled": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "padding": lambda x: (F.pad(x[:, None], (1,) * 6, "reflect"), F.pad(x[:, None], (1,) * 6, "replicate")),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), x).scatter_add(1, x.argsort(1), x),
    "places": lambda x: (
        x.index_fill(1, torch.tensor([1]), 0.0),
        x.index_add(1, torch.tensor([1]), x[:, :1]),
    ),
    "inserts": lambda x: (x.slice_scatter(x[:, :2] * 2, 1, 1, 3), x.select_scatter(x[:, 0], 1, 2)),
    "buckets": lambda x: torch.bucketize(x, torch.tensor([0.0, 0.2])),
    "products": lambda x: (
        torch.tensordot(x, x[0], 3),
        torch.cdist(x[:, 0], x[:, 1]),
        F.cosine_similarity(x, -x),
    ),
    "frequencies": lambda x: (
        torch.fft.irfft2(torch.fft.rfft2(x) * 0.5) + torch.fft.fftn(x, dim=(-2, -1)).real
    ),
    "rotations": lambda x: torch.view_as_real(
        torch.view_as_complex(x.unflatten(-1, (3, 2)).contiguous()).conj().resolve_conj()
    ),
    "triangles": lambda x: x[:, 0, torch.triu_indices(6, 6)[0], torch.triu_indices(6, 6)[1]],
    "diagonals": lambda x: (torch.diag_embed(x), x[0, 0].trace(), x @ torch.eye(6)),
    "random in training alone": lambda x: (F.rrelu(x), F.feature_alpha_dropout(x, training=False)),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_what_inference_graphs_hold_is_captured(name: str) -> None:
    model = Forward(FORWARDS[name]).eval()
    captured = capture(model, images(2))
    graph = from_json(to_json(captured.graph), captured.graph.inputs, captured.constants)
    for n in (1, 2, 5):
        expected, found = (
            leaves(model(images(n))),
            leaves(Interpreter(graph).run((images(n),), captured.constants.__getitem__)),
        )
        assert len(expected) == len(found)
        assert every(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_every_operator_of_the_list_is_pure() -> None:
    random = set()
    for name in OPERATORS:
        function = resolve(name)
        if isinstance(function, torch._ops.OpOverload):
            assert not function._schema.is_mutable, name
            assert torch.Tag.data_dependent_output not in function.tags, name
            if torch.Tag.nondeterministic_seeded in function.tags:
                random.add(function)
    # What may be random is so only with an argument that validation wants off.
    for function in random:
        names = {argument.name for argument in function._schema.arguments}
        assert {"train", "training", "dropout_p"} & names


def test_operators_that_may_return_their_argument_are_known() -> None:
    calls: dict[str, Callable[[Tensor], Any]] = {
        "dropout": lambda x: torch.ops.aten.dropout(x, 0.5, False),
        "feature_dropout": lambda x: torch.ops.aten.feature_dropout(x, 0.5, False),
        "alpha_dropout": lambda x: torch.ops.aten.alpha_dropout(x, 0.5, False),
        "feature_alpha_dropout": lambda x: torch.ops.aten.feature_alpha_dropout(x, 0.5, False),
        "einsum": lambda x: torch.einsum("abcd->badc", x),
        "type_as": lambda x: x.type_as(x),
        "pixel_shuffle": lambda x: F.pixel_shuffle(x, 1),
        "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 1),
        "atleast_1d": torch.atleast_1d,
        "atleast_2d": torch.atleast_2d,
        "atleast_3d": torch.atleast_3d,
        "broadcast_tensors": lambda x: torch.broadcast_tensors(x, x)[0],
        "meshgrid": lambda x: torch.meshgrid(x[0, 0, 0], x[0, 0, 0], indexing="ij")[0],
        "unsafe_chunk": lambda x: x.unsafe_chunk(2)[0],
        "unsafe_split": lambda x: x.unsafe_split(1)[0],
        "unsafe_split_with_sizes": lambda x: x.unsafe_split_with_sizes([1, 1])[0],
        "reshape_as": lambda x: x.reshape_as(x),
        "contiguous": lambda x: x.contiguous(),
        "rrelu": lambda x: torch.ops.aten.rrelu(x, 0.1, 0.2, False),
        "rot90": lambda x: x.rot90(0),
        "hstack": lambda x: torch.hstack([x]),
        "block_diag": lambda x: torch.block_diag(x[0, 0]),
        "roll": lambda x: x.roll(0),
        "diff": lambda x: x.diff(0),
        "fix": lambda x: x.long().fix(),
        "tensordot": lambda x: torch.tensordot(x, torch.ones(()), 0),
    }
    for name, call in calls.items():
        x = images(2)
        shares = call(x).untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        packet = getattr(torch.ops.aten, name)
        assert not shares or all(_may_share(getattr(packet, each)) for each in packet.overloads()), name
