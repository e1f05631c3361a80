"""Tensors that the library makes lie where the data lie, with their dtype, whatever torch's defaults are."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import proxconnect as pc
from proxconnect.base.eager import watched
from proxconnect.data import Augmentation, Batches, ImageSet, ResizedCrop
from proxconnect.errors import ProxConnectError
from proxconnect.kernels._gateway import pointer

SOURCES = Path(pc.__file__).parent
# Functions of torch that take both, and make a tensor of neither their arguments' device nor dtype.
FACTORIES = {"arange", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "ones", "rand"}
FACTORIES |= {"randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros"}
# A model's parameters are made where torch's own modules make theirs: on the default device.
MODELS = SOURCES / "models"


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Find the calls ``torch.name(...)`` and ``anything.data_ptr()``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            if of_torch or node.func.attr == "data_ptr":
                yield node.func.attr, node


def unstated(source: str) -> list[int]:
    """Lines that make a tensor without saying where and of what."""
    return [
        call.lineno
        for name, call in calls(source)
        if name in FACTORIES and not {"device", "dtype"} <= {keyword.arg for keyword in call.keywords}
    ]


def test_every_tensor_that_is_made_has_its_device_and_dtype_stated() -> None:
    assert unstated("torch.zeros(3, dtype=d)\ntorch.ones(3, dtype=d, device=e)\nx.new_zeros(2)") == [1]
    modules = [path for path in SOURCES.rglob("*.py") if MODELS not in path.parents]
    assert len(modules) > 100
    found = {str(path): lines for path in modules if (lines := unstated(path.read_text()))}
    assert not found


def test_addresses_are_taken_where_somebody_asked_who_watches() -> None:
    """A prepared call takes them of tensors that ``unobserved`` was asked of."""
    found = {
        path.name
        for path in SOURCES.rglob("*.py")
        if any(name == "data_ptr" for name, _ in calls(path.read_text()))
    }
    assert found == {"eager.py", "_prepared.py"}


@contextlib.contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


DEFAULTS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "meta": lambda: torch.device("meta"),
    "set_default_device": lambda: default_device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


X = torch.randn(3, 16, 6, 6, generator=generator())
LABELS = torch.tensor([0, 1, 2])
NUMBERS = torch.arange(5)
PIXELS = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8, generator=generator())


def plain() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(16, 16, 3),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 20),
        nn.Linear(20, 4),
    )


# Built before any default is set, as the models of users are.
MODEL = plain()
SETTINGS = ("bw", "bwa", "bwaa")


def binarized(setting: str, **values: Any) -> nn.Module:
    config = pc.BinarizeConfig.from_setting(setting, **values)
    return pc.binarize_(copy.deepcopy(MODEL), config).eval()


def saved_and_loaded(folder: Path) -> list[Tensor]:
    outputs = []
    for setting in ("bw", "bwaa"):
        path = pc.save(binarized(setting), folder / f"{setting}.safetensors", X)
        for kernels in ("fast", "reference"):
            outputs.append(pc.load(path, kernels=kernels)(X))
    outputs += [pc.load(folder / "bw.safetensors", activations=a)(X) for a in ("int8", "int6")]
    outputs.append(pc.load(folder / "bw.safetensors", model=copy.deepcopy(MODEL))(X))
    return outputs


def packed_in_place(folder: Path) -> list[Tensor]:
    layers = [*(binarized(setting) for setting in SETTINGS), binarized("bw", scale=16)]
    return [pc.pack_(layer)(X) for layer in layers] + [pc.pack_(binarized("bw"), activations="int8")(X)]


def hardened(folder: Path) -> list[Tensor]:
    model = pc.harden_(binarized("bwa"))
    return [model(X), *pc.recalibrate_(model, [X]).state_dict().values()]


def trained(folder: Path) -> list[Tensor]:
    tensors = []
    for setting in SETTINGS:
        for values in ({}, {"learn_scale": True}, {"scale": 5}, {"method": "bnn"}):
            if setting != "bw" and "scale" in values:
                continue
            model = binarized(setting, **values).train()
            optimizer = pc.ProxOptimizer(torch.optim.SGD(pc.param_groups(model, lr=0.1)), model, rule="pc")
            schedule = pc.MuSchedule(model, "exponential", start=1, end=3, steps=2)
            for _ in range(2):
                nn.functional.cross_entropy(model(X), LABELS).backward()
                optimizer.step()
                schedule.step()
            tensors += list(model.state_dict().values())
    return tensors


def augmented(folder: Path) -> list[Tensor]:
    images, means = ImageSet(PIXELS, NUMBERS), (0.5, 0.4, 0.3)
    batches = (
        Batches(images, 3, mean=means, std=means, augmentation=augmentation, shuffle=True, seed=3)
        for augmentation in (None, Augmentation(pad=2, flip=True), ResizedCrop())
    )
    return [tensor for each in batches for pair in each for tensor in pair]


def theory(folder: Path) -> list[Tensor]:
    z = torch.linspace(-1, 1, 9, dtype=torch.float32, device="cpu")
    pair = pc.method("ede+")
    certificate = pc.Certificate(pair, scale=0.5)
    certificate.record(z, z, 0.1, 1.0, z - 0.1 * z)
    repaired = pc.repair(pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w), lambda w, mu: 1 / (1 + w * w)))
    values = repaired.forward(z, 1.0), repaired.backward(z, 1.0)
    return [pc.implicit_regularizer(pair, z, 2.0), *values, z.new_tensor(certificate.divergences)]


def verdicts(folder: Path) -> list[str]:
    own = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w))
    return [str(pc.check(pair, mu=2.0)) for pair in (pc.method("bnn+"), pc.method("reste"), own)]


@cache
def undisturbed(work: Callable[[Path], list[Any]]) -> list[Any]:
    with TemporaryDirectory() as folder:
        return work(Path(folder))


WORK = [saved_and_loaded, packed_in_place, hardened, trained, augmented, theory, verdicts]
SLOW = (saved_and_loaded, trained)
USUAL = ("meta", "float64")


@pytest.mark.parametrize(
    ("work", "default"),
    [
        pytest.param(work, default, marks=pytest.mark.full if work in SLOW and default not in USUAL else ())
        for work in WORK
        for default in DEFAULTS
    ],
)
def test_defaults_of_torch_change_nothing(
    work: Callable[[Path], list[Any]], default: str, tmp_path: Path
) -> None:
    expected = undisturbed(work)
    with DEFAULTS[default]():
        found = work(tmp_path)
    assert len(found) == len(expected)
    for have, want in zip(found, expected, strict=True):
        if isinstance(want, Tensor):
            assert (have.device, have.dtype) == (want.device, want.dtype)
            assert torch.equal(have, want)
        else:
            assert have == want


@pytest.mark.parametrize("setting", SETTINGS)
def test_fake_tensors_go_through_networks_and_packed_models(setting: str, tmp_path: Path) -> None:
    model = binarized(setting)
    path = pc.save(model, tmp_path / "m.safetensors", X)
    forms = [pc.load(path), pc.load(path, kernels="reference"), pc.pack_(copy.deepcopy(model)), model]
    for form in forms:
        expected = form(X)
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = form(mode.from_tensor(X))
        assert (fake.shape, fake.dtype) == (expected.shape, expected.dtype)
        assert torch.equal(form(X), expected)


def test_tensors_without_memory_never_reach_compiled_code() -> None:
    from proxconnect import kernels

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(2, 8))
        calls: list[Callable[[], object]] = [
            lambda: kernels.pack_signs(fake),
            lambda: kernels.pack_pixels(mode.from_tensor(X)),
            lambda: kernels.Affine.of(mode.from_tensor(torch.ones(2))).arguments(
                kernels.Panels.lay_out(torch.zeros(2, 1, dtype=torch.uint8), 8), (2,), None
            ),
        ]
        for call in calls:
            with pytest.raises(ProxConnectError, match="has no memory that compiled code could read"):
                call()
    with pytest.raises(ProxConnectError, match="on meta has no memory"):
        pointer(torch.ones(2, device="meta"))
    with pytest.raises(ProxConnectError, match="has no memory"):
        torch.vmap(lambda row: torch.ones(pointer(row)))(torch.ones(2, 3))
    assert pointer(torch.ones(0)) == 0


def test_a_negative_view_is_multiplied_as_what_it_is() -> None:
    x = torch.complex(torch.ones(3, 8), torch.randn(3, 8, generator=generator())).conj().imag
    assert x.is_neg()
    assert watched(x)
    for setting in ("bw", "bwa"):
        layer = nn.Linear(8, 4)
        config = pc.BinarizeConfig.from_setting(setting)
        packed = pc.pack_(pc.binarize_(layer, config, lambda module, name: True)).requires_grad_(False)
        assert torch.equal(packed(x), packed(x.resolve_neg()))
