"""A file answers alike on machines unlike the one that wrote it: with any kernel set or number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import proxconnect as pc
from proxconnect import kernels
from proxconnect.models import create_model

CASES = {
    "1-bit activations": ("resnet8", "bwa", {"block": "bireal", "nonlinearity": "rprelu"}),
    "transformer": ("vit-stem-mini", "bw", {}),
}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, threads = kernels.active_kernels(), torch.get_num_threads()
    yield
    kernels.use_kernels(before)
    torch.set_num_threads(threads)


def saved(case: str, path: Path) -> Path:
    name, setting, options = CASES[case]
    torch.manual_seed(0)
    model = create_model(name, classes=10, image_size=32, **options).eval()
    pc.binarize_(model, pc.BinarizeConfig.from_setting(setting))
    return pc.save(model, path, torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("case", CASES)
def test_every_kernel_set_writes_the_same_file_and_answers_alike(case: str, tmp_path: Path) -> None:
    images = torch.randn(4, 3, 32, 32)
    files, answers = [], []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        files.append(saved(case, tmp_path / f"{kernel_set}.safetensors"))
        for threads in (1, 3):
            torch.set_num_threads(threads)
            # The first set reads its own file here, and each of the others that of the first.
            answers.append(pc.load(files[0])(images))
    assert len({file.read_bytes() for file in files}) == 1
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["fast", "fastest"])
def test_so_it_does_at_other_precisions(precision: str, tmp_path: Path) -> None:
    file = saved("transformer", tmp_path / "model.safetensors")
    images, answers = torch.randn(4, 3, 32, 32), []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        answers.append(pc.load(file, precision=precision)(images))
    for answer in answers[1:]:
        assert (answer - answers[0]).norm() <= 0.02 * answers[0].norm()
