"""3x3 convolutions of other libraries; a library that is not installed has none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from _rounds import Run, SelfTimed, repeated
from torch import Tensor

CHAIN = 64

Peer = Callable[[Tensor, Tensor, int], dict[str, Run]]


def torch_float32(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return PyTorch's convolution in float32, channels last."""
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    return {"torch float32": lambda: torch.nn.functional.conv2d(x, weight, padding=1)}


def torch_int8(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return PyTorch's convolution of 8-bit weights and activations, by each of its engines."""
    x = x.contiguous(memory_format=torch.channels_last)
    images = torch.quantize_per_tensor(x, 0.05, 128, torch.quint8)
    kernel = torch.quantize_per_tensor(weight, 0.05, 0, torch.qint8)
    before = torch.backends.quantized.engine
    runs: dict[str, Run] = {}
    for engine in ("onednn", "x86"):
        if engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            packed = torch.ops.quantized.conv2d_prepack(kernel, None, [1, 1], [1, 1], [1, 1], 1)
            runs[f"torch int8, {engine}"] = _quantized(images, packed)
    torch.backends.quantized.engine = before
    return runs


def _quantized(images: Tensor, packed: Any) -> Run:
    return lambda: torch.ops.quantized.conv2d(images, packed, 0.1, 128)


def onnxruntime_int8(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return the QLinearConv of onnxruntime."""
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        return {}
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "xs": np.float32(0.05),
        "xz": np.uint8(128),
        "w": (weight * 100).numpy().astype(np.int8),
        "ws": np.float32(0.05),
        "wz": np.int8(0),
        "ys": np.float32(0.1),
        "yz": np.uint8(128),
    }
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"], pads=[1, 1, 1, 1])
    output = [x.shape[0], weight.shape[0], *x.shape[2:]]
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    images = np.random.default_rng(0).integers(0, 255, x.shape).astype(np.uint8)
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(images))
    binding.bind_output("y")
    return {"onnxruntime int8": lambda: session.run_with_iobinding(binding)}


def openvino_binary(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return OpenVINO's BinaryConvolution with FakeQuantize in front, as one of a chain."""
    if not find_spec("openvino"):
        return {}
    import openvino
    from openvino import opset8

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    bits = np.random.default_rng(0).integers(0, 2, weight.numel()).tolist()
    kernel = openvino.op.Constant(openvino.Type.u1, openvino.Shape(list(weight.shape)), bits)
    start = node = opset8.parameter(list(x.shape), np.float32)
    zero, low, high = (opset8.constant(np.full((1, 1, 1, 1), v, np.float32)) for v in (0, -1, 1))
    ones = [1, 1]
    for _ in range(CHAIN):
        signs = opset8.fake_quantize(node, zero, zero, low, high, 2)
        node = opset8.binary_convolution(signs, kernel, ones, ones, ones, ones, "xnor-popcount", -1.0)
    request = core.compile_model(
        openvino.Model([node], [start], "chain"), "CPU", settings
    ).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.numpy()))
    return {"OpenVINO binary": OfChain(lambda: request.infer())}


class OfChain(SelfTimed):
    """One convolution of a chain, whose layers pass bits to each other.

    The cost of the call and of float32 at both ends is spread over the whole chain. The difference to a call
    of a single convolution would have the noise of both.
    """

    def __init__(self, chain: Run) -> None:
        self.chain = chain

    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        return repeated(self.chain, max(1, repeats // CHAIN), warm_seconds) / CHAIN


PEERS: tuple[Peer, ...] = (
    torch_float32,
    torch_int8,
    onnxruntime_int8,
    openvino_binary,
)
