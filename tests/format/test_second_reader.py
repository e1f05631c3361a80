"""Readers that share nothing with the library find in a file what the library finds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import second_operators
import second_reader
import torch
from looking import every, some
from second_reader import RefusedError
from vectors import BAD, GOOD, bad, expected, good, near, same_bits

import proxconnect as pc
from proxconnect.format import read, unpack_weight
from proxconnect.models import create_model

HERE = Path(__file__).parents[1] / "support"
# Rules whose check takes the schemas of all operators, or the shapes of all values.
OF_OPERATORS = ("operator-", "sizes-", "graph-unknown-operator", "graph-operator-that-writes")


@pytest.mark.parametrize("name", GOOD)
def test_the_second_reader_decodes_the_weights_to_the_bit(name: str) -> None:
    found, wanted = second_reader.read(good(name).read_bytes()).weights, expected(name, "weights")
    assert found.keys() == wanted.keys()
    assert every(same_bits(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", [name for name in GOOD if expected(name, "outputs")])
def test_the_second_reader_computes_the_outputs(name: str) -> None:
    packed = second_reader.read(good(name).read_bytes())
    found, wanted = second_operators.run(packed, expected(name, "inputs")), expected(name, "outputs")
    assert len(found) == len(wanted)
    assert every(near(found[int(place)], value) for place, value in wanted.items())


@pytest.mark.parametrize("name", [name for name in BAD if not name.startswith(OF_OPERATORS)])
def test_the_second_reader_refuses_what_breaks_a_rule(name: str) -> None:
    with pytest.raises(RefusedError):
        second_reader.read(bad(name).read_bytes())


@pytest.mark.parametrize("model", ["resnet8", "vit-mini"])
def test_the_second_reader_runs_a_whole_network(model: str, tmp_path: Path) -> None:
    net = create_model(model, classes=10, channels=1, image_size=8)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    pc.binarize_(net, pc.BinarizeConfig())
    images = torch.randn(3, 1, 8, 8)
    path = pc.save(net.eval(), tmp_path / "m.safetensors", images, rest="int8")
    packed = second_reader.read(path.read_bytes())
    library = read(path)
    for name, form in some(library.header.binary.items()):
        bits, scale = (library.tensors[f"{name}.{part}"] for part in ("bits", "scale"))
        assert same_bits(packed.weights[name], unpack_weight(bits, scale, form).numpy())
    (found,) = second_operators.run(packed, {name_of_input(packed): images.numpy()})
    with torch.no_grad():
        wanted = pc.load(path, kernels="reference")(images).numpy()
    assert near(found, wanted)


def name_of_input(packed: second_reader.Packed) -> str:
    (given,) = packed.header["graph"]["inputs"]
    return str(given["name"])


def test_a_network_runs_without_the_inputs_that_may_be_left_out() -> None:
    packed, path = second_reader.read(good("sequence-ternary").read_bytes()), good("sequence-ternary")
    tokens = expected("sequence-ternary", "inputs")["tokens"]
    found = second_operators.run(packed, {"tokens": tokens})
    with torch.no_grad():
        wanted = pc.load(path, kernels="reference")(torch.tensor(tokens))
    assert near(found[0], wanted["scores"].numpy())
    assert near(found[1], wanted["steps"].numpy())


# The reader in C


@pytest.fixture(scope="module")
def reader_in_c(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Path], subprocess.CompletedProcess[bytes]]:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("reader") / "second_reader"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(program), str(HERE / "second_reader.c")], check=True)
    return lambda path: subprocess.run([str(program), str(path)], capture_output=True)


@pytest.mark.parametrize("name", GOOD)
def test_the_reader_in_c_decodes_the_weights_to_the_bit(
    name: str, reader_in_c: Callable[[Path], subprocess.CompletedProcess[bytes]]
) -> None:
    done = reader_in_c(good(name))
    assert done.returncode == 0, done.stderr
    found, wanted = tensors_of(done.stdout), expected(name, "weights")
    assert found.keys() == wanted.keys()
    assert every(same_bits(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", BAD)
def test_the_reader_in_c_ends_in_an_answer_or_one_line(
    name: str, reader_in_c: Callable[[Path], subprocess.CompletedProcess[bytes]]
) -> None:
    done = reader_in_c(bad(name))
    assert done.returncode in (0, 1)
    assert done.stderr.startswith(b"refused: ") == (done.returncode == 1)
    if name.startswith("hash-"):
        assert done.returncode == 1


def tensors_of(output: bytes) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    while output:
        head, _, output = output.partition(b"\n")
        dtype, sizes, name = head.decode().split("\t")
        shape = [int(size) for size in sizes.split()]
        count = int(np.prod(shape, dtype=np.int64)) * second_reader.BYTES[dtype]
        found[name], output = second_reader.array(dtype, shape, output[:count]), output[count:]
    return found
