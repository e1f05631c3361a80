"""Networks as C99: compiled without a warning, they give the answers of the network."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from exported import digit_images
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.errors import ExportError, ProxConnectError, WriteError

ROOT = Path(__file__).parents[2]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="there is no compiler of C")


def compiled(source: Path, compiler: str, *flags: str) -> ctypes.CDLL:
    library = source.with_suffix(f".{compiler}.so")
    command = [
        compiler,
        *STRICT,
        "-shared",
        "-fPIC",
        *(flags or ("-O1",)),
        str(source),
        "-o",
        str(library),
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


def answers(library: ctypes.CDLL, name: str, samples: Tensor, outputs: int) -> Tensor:
    function = getattr(library, f"{name}_run")
    found = torch.zeros(len(samples), outputs)
    for sample, output in zip(samples.contiguous(), found, strict=True):
        function(ctypes.c_void_p(sample.data_ptr()), ctypes.c_void_p(output.data_ptr()))
    return found


DRIVER = """
#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>
int main(void) {{
    float *x = malloc({inputs} * sizeof *x), *y = malloc({outputs} * sizeof *y);
    while (x && y && fread(x, sizeof *x, {inputs}, stdin) == {inputs}) {{
        {name}_run(x, y);
        for (int i = 0; i < {outputs}; ++i) printf("%.9g\\n", (double)y[i]);
    }}
    free(x);
    free(y);
    return 0;
}}
"""


def program(source: Path, samples: Tensor, outputs: int, *command: str) -> Tensor:
    """Compile the network with a driver, and run it in a process of its own."""
    driver, binary = source.with_name("driver.c"), source.with_suffix("")
    sizes = {"name": source.stem, "inputs": samples[0].numel(), "outputs": outputs}
    driver.write_text(DRIVER.format(**sizes))
    arguments = [*command, *STRICT, str(driver), str(source), "-o", str(binary), "-lm"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = samples.contiguous().numpy().tobytes()
    result = subprocess.run([str(binary)], input=data, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return torch.tensor([float(line) for line in result.stdout.split()]).view(len(samples), outputs)


class Both(nn.Module):
    """A convolutional part and an attention part, with each kind of step."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.binary, self.grouped = (
            nn.Conv2d(12, 12, 3, 2, 1),
            nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=3),
        )
        self.norm, self.prelu = nn.BatchNorm2d(12), nn.PReLU(12)
        self.qkv, self.hidden = nn.Linear(12, 36), nn.Linear(12, 40)
        self.layer_norm, self.back, self.head = nn.LayerNorm(12), nn.Linear(40, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.stem(x), 3, 2, 1)
        x = self.prelu(self.norm(self.binary(x))) + functional.pad(x[:, 1:, ::2, ::2], (0, 0, 0, 0, 1, 0))
        x = functional.avg_pool2d(self.grouped(x), 2).clamp(-2, 2)
        x = self.layer_norm(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 6)).permute(2, 0, 3, 1, 4).unbind()
        x = x + functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = torch.cat([x, x.mean(1, keepdim=True)], 1)
        x = x + 2 * self.back(functional.gelu(self.hidden(x))).softmax(-1)
        return self.head(x[:, -1])


HIDDEN = ("binary", "grouped", "qkv", "hidden", "back")
CONFIGS = {
    "bw": pc.BinarizeConfig(),
    "bwa": pc.BinarizeConfig.from_setting("bwa"),
    "bwaa": pc.BinarizeConfig.from_setting("bwaa", accumulator_bits=5, learn_thresholds=True),
    "ternary": pc.BinarizeConfig("binary-relax", levels=(-1, 0, 1), scale=10),
}
QUICK = ("bwa", "ternary")


@needs_compiler
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in CONFIGS]
)
def test_every_kind_of_step_and_of_weight(name: str, tmp_path: Path) -> None:
    model = pc.binarize_(Both().eval(), CONFIGS[name], lambda module, name: name in HIDDEN)
    x = torch.randn(4, 3, 12, 12)
    packed = pc.save(model, tmp_path / "both.safetensors", x, rest="int8" if name == "ternary" else "float32")
    source = pc.export.c(packed, tmp_path / "both.c")
    expected = pc.load(packed, kernels="reference")(x)
    compiler = COMPILERS[-1 if name == "ternary" else 0]
    sanitized = SANITIZED if compiler == "gcc" else ()  # Clang's sanitizers are a package of their own
    found = program(source, x, 5, compiler, "-O1", *sanitized)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    text = source.read_text()
    assert ("conv2d_signs(" in text) == (name in ("bwa", "bwaa"))


@needs_compiler
@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet20-cifar10-bw", "resnet20-cifar10-bwa", "vit-cifar10-bw"])
def test_networks_of_the_zoo_give_their_answers(name: str, tmp_path: Path) -> None:
    net, images = pc.zoo.load(name), digit_images(200)
    source = pc.export.c(net, tmp_path / "net.c")
    for compiler in COMPILERS:
        found = answers(compiled(source, compiler, "-O2"), "net", images, 10)
        torch.testing.assert_close(found, net(images), rtol=0, atol=1e-4)
        assert torch.equal(found.argmax(1), net(images).argmax(1))


@pytest.mark.full
def test_a_microcontroller_gives_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    cortex_m = importlib.import_module("_cortex_m")
    if cortex_m.missing():
        pytest.skip(f"{', '.join(cortex_m.missing())} not installed")
    net, images = pc.zoo.load("resnet20-cifar10-bwa"), digit_images(2)
    source = pc.export.c(net, tmp_path / "net.c")
    torch.testing.assert_close(cortex_m.answers(source, images, 10), net(images), rtol=0, atol=1e-4)
    flash, memory = cortex_m.flash_and_memory(source)
    header = source.with_suffix(".h").read_text()
    assert f"Memory takes {memory} bytes" in header
    assert flash < 100_000


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1).sort(1).values + (x > 0)


def test_what_c_cannot_compute_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    x = torch.ones(2, 4)
    with pytest.raises(ExportError, match=r"cannot compute cumsum\.default \(no such operator\), gt.Scalar"):
        pc.export.c(Unknown(), tmp_path / "net.c", x)
    layer = nn.Linear(4, 2)
    varying = pc.save(nn.ReLU(), tmp_path / "relu.safetensors", x, dynamic={1: "width"})
    with pytest.raises(ExportError, match="size 'width' of input 'input' varies"):
        pc.export.c(varying, tmp_path / "net.c")
    with pytest.raises(ProxConnectError, match=r"ends in '\.c'"):
        pc.export.c(layer, tmp_path / "net", x)
    with pytest.raises(ProxConnectError, match="must begin with a letter"):
        pc.export.c(layer, tmp_path / "20.c", x)
    with pytest.raises(WriteError, match="there is no folder"):
        pc.export.c(layer, tmp_path / "none" / "net.c", x)
    words = pc.save(nn.Embedding(3, 2), tmp_path / "words.safetensors", torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ExportError, match="is int64; a C file takes float32"):
        pc.export.c(words, tmp_path / "net.c")
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}


@needs_compiler
def test_names_of_classes_are_strings_of_c(tmp_path: Path) -> None:
    names = ['say "hi"', "back\\slash", "??=", "Ägypten", "new\nline"]
    packed = pc.save(nn.Linear(4, 5), tmp_path / "a.safetensors", torch.ones(1, 4), classes=names)
    library = compiled(pc.export.c(packed, tmp_path / "my-net.c"), COMPILERS[0])
    found = (ctypes.c_char_p * 5).in_dll(library, "my_net_classes")
    assert [name.decode() for name in found if name is not None] == names
