"""The kernels as operators: compilers and exporters keep them, autocast leaves them in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import pack_bits, packed_width
from proxconnect.kernels import ConvPanels, Geometry, Panels, Thresholds


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.line, self.head = nn.Conv1d(8, 8, 3, bias=False), nn.Linear(8 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.line(self.norm(self.conv(x)).flatten(2)).flatten(1))


def forms(setting: str, activations: str | None, path: Path) -> list[nn.Module]:
    torch.manual_seed(0)
    config = pc.BinarizeConfig.from_setting(setting)
    model = pc.binarize_(Model(), config, lambda module, name: True).eval()
    pc.save(model, path, X)
    return [
        pc.pack_(model, activations=activations).requires_grad_(False),
        pc.load(path, activations=activations),
    ]


X = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(3))
FORMS = [
    ("bw", None, "w1a32", "w1a32"),
    ("bw", "int8", "w1a8", "w1a8"),
    ("bw", "int6", "w1a8", "w1a6"),
    ("bwa", None, "w1a1", "w1a1"),
]


@pytest.mark.parametrize(("setting", "activations", "conv2d", "linear"), FORMS)
def test_compilers_and_exporters_keep_the_operators(
    setting: str, activations: str | None, conv2d: str, linear: str, tmp_path: Path
) -> None:
    for form in forms(setting, activations, tmp_path / "m.safetensors"):
        expected = form(X)
        program = torch.export.export(form, (X,))
        assert torch.equal(program.module()(X), expected)
        kept = {str(node.target) for node in program.graph.nodes if "proxconnect" in str(node.target)}
        assert {f"proxconnect.{conv2d}_conv2d.default", f"proxconnect.{linear}_linear.default"} <= kept
        torch._dynamo.reset()
        assert torch.equal(torch.compile(form, fullgraph=True, backend="aot_eager")(X), expected)


@pytest.mark.parametrize(("setting", "activations"), [form[:2] for form in FORMS])
def test_autocast_leaves_them_in_float32(setting: str, activations: str | None, tmp_path: Path) -> None:
    packed, net = forms(setting, activations, tmp_path / "m.safetensors")
    for form in (packed, net):
        with torch.autocast("cpu", torch.bfloat16):
            output = form(X.bfloat16().float())
        assert output.dtype == torch.float32
        if setting == "bwa":  # no operator rounds to bfloat16 between the layers
            assert torch.equal(output, form(X.bfloat16().float()))
    layer = packed.head
    x = torch.randn(3, 112).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), layer(x.float()))


N, K, SHAPE = 5, 18, (5, 2, 3, 3)
BITS = pack_bits(torch.randn(N, K, generator=torch.Generator().manual_seed(0)))
LINEAR = LinearOperand(Panels.lay_out(BITS, K)).arguments
TERNARY = LinearOperand(Panels.lay_out(torch.stack([BITS | 1, BITS]), K)).arguments
GROUPS = torch.randn(2, 90)
WIDE = LinearOperand(Panels.lay_out(pack_bits(torch.randn(N, 90)), 90)).arguments
CONV = ConvOperand(ConvPanels.lay_out(BITS, SHAPE), Geometry((2, 1), (1, 0), (1, 2))).arguments
FOLD = Thresholds.of(torch.ones(N), torch.zeros(N), K)
CHAIN = ([3, 4, 5], torch.rand(3, N))  # multiply_add, add_residual, prelu
AFFINE = (torch.rand(N), torch.rand(N), torch.rand(N))
ROWS, IMAGE = torch.randn(2, 3, K), torch.randn(2, 2, 6, 7)
PACKED_ROWS, PACKED_IMAGE = (
    pack_bits(ROWS.flatten(0, 1)).view(2, 3, -1),
    torch.ones(2, 6, 7, 1, dtype=torch.uint8),
)
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("unpack_weights", (BITS, torch.ones(N, 1), [N, K], None)),
    ("unpack_weights", (torch.stack([BITS, BITS]), torch.ones(N, 3), [N, K], 8)),
    ("pack_rows", (ROWS,)),
    ("pack_pixels", (IMAGE,)),
    ("w1a32_linear", (ROWS, *LINEAR, *AFFINE, torch.randn(2, 3, N))),
    ("w1a8_linear", (ROWS, *LINEAR, *AFFINE, None)),
    ("w1a6_linear", (ROWS, *LINEAR, *AFFINE, torch.randn(2, 3, N))),
    ("w1a8_linear", (GROUPS, *WIDE, torch.rand(1, 2, 16), *AFFINE[1:], None, 64)),
    ("w1a32_linear", (GROUPS, *WIDE, torch.rand(1, 3, 16).half(), *AFFINE[1:], None, 32)),
    ("w2a32_linear", (ROWS, *TERNARY, *AFFINE, torch.randn(2, 3, N))),
    ("w2a8_linear", (ROWS, *TERNARY, *AFFINE, None)),
    ("w2a6_linear", (ROWS, *TERNARY, *AFFINE, None)),
    ("w1a1_linear", (PACKED_ROWS, *LINEAR, *AFFINE, None, True)),
    ("w1a1_linear_signs", (PACKED_ROWS, *LINEAR, FOLD.threshold, FOLD.flip, False)),
    ("w1a32_conv2d", (IMAGE, *CONV, *AFFINE, torch.randn(2, N, 3, 3))),
    ("w1a8_conv2d", (IMAGE, *CONV, *AFFINE, None)),
    ("w1a1_conv2d", (PACKED_IMAGE, *CONV, *AFFINE, None, True)),
    ("w1a1_conv2d_signs", (PACKED_IMAGE, *CONV, FOLD.threshold, FOLD.flip, False)),
    ("w1a1_linear_chain", (PACKED_ROWS, *LINEAR, *CHAIN, torch.randn(2, 3, N), True, True, False)),
    ("w1a1_conv2d_chain", (PACKED_IMAGE, *CONV, *CHAIN, torch.randn(2, N, 3, 3), False, True, True)),
    ("chain_linear", (torch.randn(2, 3, N), *CHAIN, torch.randn(2, 3, N), True, True)),
    ("chain_conv2d", (torch.randn(2, N, 3, 3), *CHAIN, torch.randn(2, N, 3, 3), False, True)),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_shapes_without_data_are_those_with_data(name: str, arguments: tuple[Any, ...]) -> None:
    operator = getattr(torch.ops.proxconnect, name).default
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_no_operator_is_forgotten() -> None:
    names = {
        name.removeprefix("proxconnect::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("proxconnect::")
    }
    assert names == {name for name, _ in CALLS}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ops: ops.w1a32_linear(ROWS, LINEAR[0][:, :0], K, *AFFINE, None), "words.* expected"),
        (
            lambda ops: ops.w1a32_linear(ROWS, *LINEAR, AFFINE[0], torch.ones(4), None, None),
            r"expected \(5,\)",
        ),
        (lambda ops: ops.w1a32_linear(ROWS[..., :9], *LINEAR, *AFFINE, None), "rows of 9; expected k = 18"),
        (lambda ops: ops.w1a8_linear(ROWS, *LINEAR, *AFFINE, None, 32), r"expected \(panels, groups, 16\)"),
        (lambda ops: ops.w1a1_linear(PACKED_ROWS, *TERNARY, *AFFINE, None, True), "the weight is ternary"),
        (
            lambda ops: ops.w1a1_linear_signs(PACKED_ROWS, *LINEAR, FOLD.threshold, FOLD.flip[:, :0], False),
            "flip",
        ),
        (lambda ops: ops.w1a32_conv2d(IMAGE, *CONV, *[torch.ones(6)] * 3, None), "has not 6 outputs"),
    ],
)
def test_operators_check_what_they_are_given(call: Callable[[Any], Tensor], words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        call(torch.ops.proxconnect)


@pytest.mark.parametrize("levels", [(-1, 1), (-1, 0, 1)])
def test_weights_with_groups_or_zeros_are_unpacked_by_the_operator(levels: tuple[int, ...]) -> None:
    config = pc.BinarizeConfig("bc", levels=levels, scale=7)
    layer = pc.pack_(pc.binarize_(nn.Linear(18, 5), config, lambda module, name: True)).requires_grad_(False)
    program = torch.export.export(layer, (ROWS,))
    assert any("proxconnect.unpack_weights" in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program.module()(ROWS), layer(ROWS))


def test_packed_rows_are_bytes() -> None:
    assert torch.ops.proxconnect.pack_rows(ROWS).shape == (2, 3, packed_width(K))
