"""Time a network in every form of an export, and compare its answers with those of the packed file.

    python benchmarks/exports.py

Takes the ResNet-20s of the zoo, one thread and one image at a time. Every round runs all forms, and measures
the time of the processor, which other programs do not lengthen by waiting. The answers are compared on the
360 test images of digits that come with scikit-learn, enlarged to 32 x 32 pixels. The script needs
``pip install "proxconnect[bench,train]"`` and a compiler of C. It writes ``docs/results/data/exports.json``,
from which ``docs/export.md`` has its tables.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _rounds import ROUNDS, SelfTimed, machine, median_interval, rounds
from torch import Tensor
from torch.nn import functional

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.data import load_split
from proxconnect.engine import active_kernels

OUT = Path(__file__).parents[1] / "docs" / "results" / "data" / "exports.json"
NETWORKS = {"bw": "resnet20-cifar10-bw", "bwa": "resnet20-cifar10-bwa"}
COMPILER = ("cc", "-O3", "-march=native", "-std=c99")
CLOSE = 1e-4
Run = Callable[[Tensor], Tensor]


class Form(NamedTuple):
    """Text of the page on a form, and the function that starts a network in it, if it is run here."""

    purpose: str
    weights: str
    readers: str
    start: Callable[[pc.engine.Network, Path], Run] | None


class ProcessorTime(SelfTimed):
    """One image, timed by the clock of the process, which stands while other programs have the processor."""

    def __init__(self, run: Run, image: Tensor) -> None:
        self.run, self.image = run, image

    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        self.run(self.image)
        start = time.process_time()
        for _ in range(repeats):
            self.run(self.image)
        return (time.process_time() - start) / repeats


def onnx(net: pc.engine.Network, folder: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    path = str(pc.export.onnx(net, folder / "net.onnx"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def program(form: str) -> Callable[[pc.engine.Network, Path], Run]:
    def start(net: pc.engine.Network, folder: Path) -> Run:
        module = torch.export.load(pc.export.torch(net, folder / f"{form}.pt2", form)).module()

        def run(images: Tensor) -> Tensor:
            output = module(images)
            return output[0] if isinstance(output, tuple) else output

        return run

    return start


def c(net: pc.engine.Network, folder: Path) -> Run:
    source = pc.export.c(net, folder / "net.c")
    library = folder / "net.so"
    subprocess.run([*COMPILER, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).net_run

    def run(images: Tensor) -> Tensor:
        found = torch.zeros(len(images), 10)
        for image, logits in zip(images.contiguous(), found, strict=True):
            function(ctypes.c_void_p(image.data_ptr()), ctypes.c_void_p(logits.data_ptr()))
        return found

    return run


FORMS = {
    "onnx": Form(
        "any runtime",
        "int8 codes with float32 scales",
        "onnxruntime 1.14 and newer, and whatever takes ONNX of opset 18",
        onnx,
    ),
    "qonnx": Form(
        "FPGAs and hardware compilers",
        "float32 behind `BipolarQuant` (ternary: `Quant`)",
        "FINN, hls4ml, the package `qonnx`",
        None,
    ),
    "torch": Form(
        "PyTorch, without the model's code",
        "bits, on this library's kernels",
        "`torch.export.load`, after `import proxconnect.engine`",
        program("packed"),
    ),
    "torch-plain": Form(
        "compilers of PyTorch",
        "unpacked float32",
        "`torch.export.load`, AOTInductor, ExecuTorch",
        program("plain"),
    ),
    "c": Form("microcontrollers, and all that has a C compiler", "bits", "any C99 compiler", c),
    "gguf": Form(
        "language models of transformers",
        "bits, with a float16 scale for each block",
        "llama.cpp, if it knows `Q1_0`",
        None,
    ),
}


def digits() -> Tensor:
    """Return images of digits with values as the networks of the zoo take them."""
    images = (load_split("digits", "test").images / 255 - 0.3) / 0.4
    return functional.interpolate(images, size=32, mode="bilinear").repeat(1, 3, 1, 1)


def measured(name: str, count: int) -> dict[str, Any]:
    """Time all forms of a network on one image, and compare their answers to all images."""
    net, images, found = pc.zoo.load(name), digits(), {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        runs: dict[str, Run] = {"packed": net}
        runs |= {form: FORMS[form].start(net, Path(folder)) for form in FORMS if FORMS[form].start}
        expected = net(images)
        for form, run in runs.items():
            off = (run(images) - expected).abs().amax(1)
            found[form] = {
                "same_class": int((run(images).argmax(1) == expected.argmax(1)).sum()),
                "close": int((off <= CLOSE).sum()),
                "largest_difference": float(off.max()),
            }
        times = rounds({form: ProcessorTime(run, images[:1]) for form, run in runs.items()}, count)
    for form, seconds in times.items():
        found[form]["milliseconds"] = [value * 1e3 for value in median_interval(seconds)]
        print(name, form, found[form], flush=True)
    return found


def forms_table(result: dict[str, Any]) -> str:
    """Write the table of the forms, with the time of an image."""
    columns = (
        "`--to`",
        "for",
        "1-bit weights are",
        *(f"ResNet-20 `{s}`, ms" for s in NETWORKS),
        "who reads it",
    )
    rows = [["(the packed file)", "this library", "bits", *times(result, "packed"), "`pc.load`"]]
    rows += [
        [f"`{name}`", form.purpose, form.weights, *times(result, name), form.readers]
        for name, form in FORMS.items()
    ]
    return Table(columns, rows).markdown()


def times(result: dict[str, Any], form: str) -> list[str]:
    found = [result["networks"][setting].get(form) for setting in NETWORKS]
    return ["" if one is None else f"{one['milliseconds'][0]:.1f}" for one in found]


def answers_table(result: dict[str, Any]) -> str:
    """Write the table of the answers."""
    columns = ("network", "form", "same class", "all logits within 1e-4", "largest difference of a logit")
    rows = [
        [
            NETWORKS[setting],
            f"`{form}`",
            f"{found['same_class']} of {result['images']}",
            f"{found['close']} of {result['images']}",
            f"{found['largest_difference']:.0e}",
        ]
        for setting, forms in result["networks"].items()
        for form, found in forms.items()
        if form != "packed"
    ]
    return Table(columns, rows).markdown()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "machine": machine(),
        "kernels": active_kernels(),
        "versions": [f"{name} {version(name)}" for name in ("torch", "onnxruntime")],
        "compiler": " ".join(COMPILER),
        "rounds": options.rounds,
        "images": len(digits()),
        "networks": {setting: measured(name, options.rounds) for setting, name in NETWORKS.items()},
    }
    print(forms_table(result), answers_table(result), sep="\n\n")
    if not options.dry:
        with written_whole(OUT) as file:
            file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
