from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from looking import every

import proxconnect
from proxconnect import _native, kernels

CHOICE = """
from proxconnect import kernels
from proxconnect.errors import ProxConnectError
try:
    print(kernels.active_kernels())
except ProxConnectError as error:
    print(error)
"""


def run_with_kernels(value: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PROXCONNECT_KERNELS": value}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        pytest.param("portable", "portable", marks=pytest.mark.full),
        pytest.param("", kernels.kernel_sets()[0], marks=pytest.mark.full),
        (
            "z80",
            "PROXCONNECT_KERNELS: unknown kernel set 'z80'. Known: " + ", ".join(kernels.kernel_sets()),
        ),
    ],
)
def test_the_environment_chooses_the_kernels(value: str, answer: str) -> None:
    assert run_with_kernels(value, CHOICE).stdout.strip() == answer


PASSES = """
import torch
from proxconnect import _native, kernels
from proxconnect.errors import ProxConnectError
from proxconnect.layers import _compiled
from proxconnect.layers._scaled_product import scale_outputs_
from proxconnect.quantizers import hard_tanh

x, form = torch.ones(2**15, 1), _compiled._COMPILED[hard_tanh]
for run in (
    lambda: form.value(x, 1.0),
    lambda: form.weight(x, 1.0, x, None, False),
    lambda: form.gradient(x, 1.0, x),
    lambda: form.marked_value(x, 1.0, form),
    lambda: kernels.marked_gradient(torch.ones(2**11, dtype=torch.int16), 1.0, x),
    lambda: kernels.mean_magnitudes(x),
    lambda: scale_outputs_(x, torch.ones(1), None, -1),
):
    try:
        run()
        print(_native.active_kernels())
    except ProxConnectError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("value", "answer"),
    [("portable", "portable"), pytest.param("z80", "unknown kernel set 'z80'", marks=pytest.mark.full)],
)
def test_the_passes_of_training_follow_the_environment_without_the_engine(value: str, answer: str) -> None:
    lines = run_with_kernels(value, PASSES).stdout.splitlines()
    assert len(lines) == 7
    assert every(answer in line for line in lines)


def test_a_set_runs_where_its_instructions_are() -> None:
    sets, features = kernels.kernel_sets(), kernels.cpu_features()
    assert ("avx2" in sets) == features.get("avx2", False)
    assert ("neon_dot" in sets) == features.get("asimddp", False)
    assert "avx512" not in sets or features["avx512vpopcntdq"]
    assert "amx" not in sets or (features["amx_int8"] and "avx512" in sets)


@pytest.mark.skipif(
    sys.platform != "linux" or "avx2" not in kernels.cpu_features(), reason="Linux on x86 lists flags"
)
def test_features_are_those_that_the_system_lists() -> None:
    """The system leaves out what it does not keep for programs, as the kernel sets have to."""
    named = {f"avx512{name}": f"avx512_{name}" for name in ("vbmi2", "vnni", "vpopcntdq")}
    (flags, *_) = re.findall(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    found = kernels.cpu_features()
    assert found == {name: named.get(name, name) in flags.split() for name in found}


FORK = """
import os, torch
from proxconnect.kernels import Affine, Panels, pack_signs, w1a32

torch.set_num_threads(3)
weight, affine = Panels.lay_out(pack_signs(torch.randn(500, 1000)), 1000), Affine.of(torch.ones(500))
x = torch.randn(64, 1000)
expected = w1a32(x, weight, affine)
child = os.fork()
same = torch.equal(w1a32(x, weight, affine), expected)
if child == 0:
    os._exit(0 if same else 1)
assert same
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_computes_without_threads() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=300)


BESIDE_TORCH = """
import ctypes, os, torch
from proxconnect.kernels import Affine, Panels, pack_signs, w1a8

if not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
    print("skipped")
    raise SystemExit
torch.set_num_threads(4)
many = torch.randn(2**20)
many.exp()
before = sorted(os.listdir("/proc/self/task"))
x, weight = torch.randn(64, 1024), Panels.lay_out(pack_signs(torch.randn(512, 1024)), 1024)
small, affine = torch.randn(4, 1024), Affine.of(torch.ones(512))
for rows in (x, small) * 20:
    w1a8(rows, weight, affine)
    many.exp()
assert sorted(os.listdir("/proc/self/task")) == before
print("done")
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="threads are counted in /proc, and torch has GNU OpenMP's, on Linux"
)
def test_kernels_run_on_the_threads_that_torch_has() -> None:
    run = subprocess.run(
        [sys.executable, "-c", BESIDE_TORCH], check=True, timeout=300, capture_output=True, text=True
    )
    if run.stdout == "skipped\n":
        pytest.skip("torch has no GNU OpenMP here")
    assert run.stdout == "done\n"


def test_the_stub_names_what_the_module_has() -> None:
    stub = Path(proxconnect.__file__).with_name("_native.pyi").read_text()
    body = ast.parse(stub).body
    named = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    named |= {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}
    assert named == {name for name in dir(_native) if not name.startswith("_")}
    enumerations = [node for node in body if isinstance(node, ast.ClassDef)]
    assert {kinds.name for kinds in enumerations} == {"Activation", "MapKind", "StepKind"}
    for kinds in enumerations:
        members = [ast.unparse(node.targets[0]) for node in kinds.body if isinstance(node, ast.Assign)]
        assert members == [kind.name for kind in getattr(_native, kinds.name)]


def test_one_module_imports_compiled_code() -> None:
    root = Path(proxconnect.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import) and "_native" in ast.unparse(node)
    }
    assert found == {"kernels/_gateway.py"}
