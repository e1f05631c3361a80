"""Other engines that run the same architecture: torch, onnxruntime and OpenVINO."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.timing.rounds import Run

ENGINES = ("onnxruntime", "openvino")
_CALIBRATION = 4  # inputs, random ones, since values hardly change the time


def check_engines(names: tuple[str, ...]) -> None:
    """Raise :class:`ProxConnectError` for an unknown engine, or one that is not installed."""
    for name in names:
        if name not in ENGINES:
            raise ProxConnectError(unknown_name("vs", name, ENGINES))
        with needed_for(f"Comparing with {name}", "bench"):
            for package in (name, "onnxruntime", "onnx", "onnxscript"):  # onnxruntime quantizes for both
                import_module(package)


def torch_runs(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Run]:
    """Return runs of the model in PyTorch, for images also in channels_last."""
    runs: dict[str, Run] = {"torch": lambda: model(*inputs)}
    if any(tensor.ndim == 4 for tensor in inputs):
        last = tuple(_channels_last(tensor) for tensor in inputs)
        runs["torch channels_last"] = lambda: model(*last)
    return runs


@contextmanager
def engine_runs(
    model: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...]
) -> Iterator[tuple[dict[str, Run], dict[str, str]]]:
    """Yield runs of the model in each engine, in float32 and in int8, and why some are missing."""
    runs: dict[str, Run] = {}
    refusals: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = _files(model, inputs, Path(folder)) if names else {}
        for name in names:
            start = {"onnxruntime": _onnxruntime, "openvino": _openvino}[name]
            for kind, paths in files.items():
                refusal = ""
                for path in paths:
                    try:
                        runs[f"{name} {kind}"] = start(path, inputs)
                        break
                    except Exception as error:  # engines raise many kinds for operators that they do not know
                        refusal = str(error).strip().rpartition("\n")[2]
                else:
                    refusals[f"{name} {kind}"] = refusal
        yield runs, refusals


def _files(model: nn.Module, inputs: tuple[Tensor, ...], folder: Path) -> dict[str, list[Path]]:
    """Write the ONNX files of each kind, of which an engine runs the first that it takes."""
    whole, narrow, products = (folder / f"{name}.onnx" for name in ("float32", "int8", "products"))
    with redirect_stdout(StringIO()):
        torch.onnx.export(model, inputs, str(whole), dynamo=True, external_data=False, verbose=False)
    _quantize(whole, narrow, inputs)
    _quantize(whole, products, inputs, ["Conv", "Gemm", "MatMul"])
    return {"float32": [whole], "int8": [narrow, products]}


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _quantize(
    source: Path, path: Path, inputs: tuple[Tensor, ...], operators: list[str] | None = None
) -> None:
    """Quantize as these engines do it best: convolutions with steps from examples, products as they run."""
    onnx, quantization = import_module("onnx"), import_module("onnxruntime.quantization")
    graph = onnx.load(source).graph
    kinds = Counter(node.op_type for node in graph.node)
    if kinds["Conv"] < kinds["MatMul"] + kinds["Gemm"]:
        quantization.quantize_dynamic(source, path, op_types_to_quantize=["MatMul", "Gemm"])
        return
    names = [value.name for value in graph.input]

    reader: Any = quantization.CalibrationDataReader

    class Examples(reader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.generator, self.left = torch.Generator(device="cpu").manual_seed(0), _CALIBRATION

        def get_next(self) -> dict[str, Any] | None:
            self.left -= 1
            return None if self.left < 0 else {n: self.draw(x) for n, x in zip(names, inputs, strict=True)}

        def draw(self, x: Tensor) -> Any:
            if not x.is_floating_point():
                return x.numpy()
            return torch.randn(x.shape, generator=self.generator, dtype=torch.float32, device="cpu").numpy()

    quantization.quantize_static(
        source,
        path,
        Examples(),
        per_channel=True,
        op_types_to_quantize=operators,
        activation_type=quantization.QuantType.QUInt8,
    )


def _onnxruntime(path: Path, inputs: tuple[Tensor, ...]) -> Run:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {value.name: x.numpy() for value, x in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, feed)


def _openvino(path: Path, inputs: tuple[Tensor, ...]) -> Run:
    openvino = import_module("openvino")
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    model = core.read_model(str(path))
    model.reshape([list(x.shape) for x in inputs] if len(inputs) > 1 else list(inputs[0].shape))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    arrays = [x.numpy() for x in inputs]
    return lambda: request.infer(arrays)
