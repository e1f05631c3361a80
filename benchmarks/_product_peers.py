"""Products of other libraries with the same weights; a library that is not installed has none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from _rounds import Run
from torch import Tensor

Peer = Callable[[Tensor, Tensor, int], dict[str, Run]]


def torch_products(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return PyTorch's products in float32, in bare int8, and in dynamic int8 by each of its engines."""
    bias = torch.zeros(len(weight))
    q, dense_q = (x * 40).round().clamp(-127, 127).to(torch.int8), weight.to(torch.int8).T.contiguous()
    runs: dict[str, Run] = {
        "torch float32": lambda: torch.nn.functional.linear(x, weight, bias),
        "torch int8, bare": lambda: torch._int_mm(q, dense_q),
    }
    before = torch.backends.quantized.engine
    quantized = torch.quantize_per_tensor(weight, 1 / 127, 0, torch.qint8)
    for engine in ("onednn", "x86"):
        if engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            packed = torch.ops.quantized.linear_prepack(quantized, bias)
            runs[f"torch int8, dynamic, {engine}"] = _dynamic(x, packed)
    torch.backends.quantized.engine = before
    return runs


def _dynamic(x: Tensor, packed: Any) -> Run:
    return lambda: torch.ops.quantized.linear_dynamic(x, packed)


def onnxruntime_products(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return onnxruntime's products in float32, in dynamic int8, and with weights of 2 bits."""
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        return {}
    from onnx import helper

    (n, k), block = weight.shape, 64
    dense = {"w": weight.T.contiguous().numpy()}
    bytes_ = {"w": dense["w"].astype(np.int8)}
    node = helper.make_node
    runs = {
        "onnxruntime float32": _session(x, threads, n, dense, [node("MatMul", ["x", "w"], ["y"])]),
        "onnxruntime int8, dynamic": _session(
            x,
            threads,
            n,
            bytes_,
            [
                node("DynamicQuantizeLinear", ["x"], ["q", "step", "zero"]),
                node("MatMulInteger", ["q", "w", "zero"], ["sums"]),
                node("Cast", ["sums"], ["floats"], to=1),
                node("Mul", ["floats", "step"], ["y"]),
            ],
        ),
    }
    if k % block == 0:
        pairs = np.where(weight.numpy() > 0, 3, 1).astype(np.uint8).reshape(n, k // block, block // 4, 4)
        packed = (pairs << np.array([0, 2, 4, 6], np.uint8)).sum(-1).astype(np.uint8)
        two_bits = {"w": packed, "scales": np.ones((n, k // block), np.float32)}
        attributes = {"K": k, "N": n, "bits": 2, "block_size": block, "accuracy_level": 4}
        product = node("MatMulNBits", ["x", "w", "scales"], ["y"], domain="com.microsoft", **attributes)
        runs["onnxruntime 2 bits"] = _session(x, threads, n, two_bits, [product])
    return runs


def _session(x: Tensor, threads: int, n: int, constants: dict[str, Any], nodes: list[Any]) -> Run:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [len(x), n])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x.numpy()))
    binding.bind_output("y")
    return lambda: session.run_with_iobinding(binding)


def openvino_product(x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
    """Return OpenVINO's product in float32."""
    if not find_spec("openvino"):
        return {}
    import openvino
    from openvino import opset8

    start = opset8.parameter(list(x.shape), np.float32)
    product = opset8.matmul(start, opset8.constant(weight.numpy()), False, True)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = openvino.Model([product], [start], "product")
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.numpy()))
    return {"OpenVINO float32": lambda: request.infer()}


PEERS: tuple[Peer, ...] = (
    torch_products,
    onnxruntime_products,
    openvino_product,
)
