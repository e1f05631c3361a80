"""The first line of a run: the plan, and a warning if its steps are few."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from proxconnect.data import ImageData, load_data
from proxconnect.trainer import TrainConfig
from proxconnect.trainer.fit import _batches
from proxconnect.trainer.plan import busy_lines, plan_lines, steps_per_epoch


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data("digits")


def lines(data: ImageData, **values: Any) -> list[str]:
    config = TrainConfig(**{"model": "resnet8", "data": "digits", **values}).resolved()
    return list(plan_lines(config.for_images(len(data.train)), data))


@pytest.mark.parametrize(
    ("images", "devices", "batch_size"),
    [
        *((images, 1, 8) for images in (2, 123, 511)),
        *((512, 1, 16), (1257, 1, 32), (2048, 1, 64), (4096, 1, 128), (10**6, 1, 128)),
        (123, 12, 12),
    ],
)
def test_the_batch_size_suits_the_number_of_images(images: int, devices: int, batch_size: int) -> None:
    assert TrainConfig(devices=devices).for_images(images).batch_size == batch_size
    assert TrainConfig(batch_size=50).for_images(images).batch_size == 50


@pytest.mark.parametrize(("images", "lr"), [(123, 0.1 / 16), (1257, 0.025), (45_000, 0.1)])
def test_the_learning_rate_of_sgd_suits_the_batch(images: int, lr: float) -> None:
    options = {"model": "resnet20", "data": "digits", "setting": "bw", "optimizer": "sgd"}
    config = TrainConfig(**options).resolved()
    assert (config.lr, config.latent_lr) == (None, None)
    config = config.for_images(images)
    assert (config.lr, config.latent_lr) == (pytest.approx(lr), pytest.approx(lr))
    assert TrainConfig(**options, batch_size=256).resolved().lr == 0.2
    assert TrainConfig(**options, lr=0.3, latent_lr=0.4).resolved().for_images(images).lr == 0.3


def test_the_first_line_says_what_will_happen(digits: ImageData) -> None:
    assert lines(digits, batch_size=100, latent_lr=0.01, mu_end=60.0, epochs=20) == [
        "1,257 images of 10 classes, 180 to validate on; batch 100, 13 steps an epoch, 260 in all; adam, "
        "learning rate 0.002, latents 0.01 of their scale; mu from 1 to 60"
    ]
    assert lines(digits, setting="fp", batch_size=13, epochs=3) == [
        "1,257 images of 10 classes, 180 to validate on; batch 13, 97 steps an epoch, 291 in all; sgd, "
        "learning rate 0.0101563 (0.1 for a batch of 128)"
    ]
    assert lines(digits, method="bc", epochs=100)[0].endswith("; mu constant at 1")


def test_few_steps_are_pointed_out_with_what_to_change(digits: ImageData) -> None:
    _, said = lines(digits, batch_size=128)
    assert said == (
        "100 steps are few, and the accuracy will be low: pass --epochs 20 or more, a smaller "
        "--batch-size, or --init RUN to start from a full-precision run"
    )
    _, said = lines(digits, setting="fp", batch_size=8, limit_train_batches=2)
    assert said.endswith("pass a larger --limit-train-batches, or --epochs 100 or more")
    assert len(lines(digits, batch_size=128, epochs=20)) == 1


def test_a_busy_machine_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.9, 0.0, 0.0))
    assert list(busy_lines()) == []
    monkeypatch.setattr(os, "getloadavg", lambda: (7.84, 0.0, 0.0))
    (line,) = busy_lines()
    assert line.startswith(
        "other programs keep this machine busy (7.8 at work on 4 cores), and the 4 threads"
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert list(busy_lines()) == []


@pytest.mark.parametrize(
    ("batch_size", "devices", "steps"), [(8, 1, 157), (8, 2, 157), (7, 1, 180), (7, 3, 179), (2000, 1, 1)]
)
def test_a_last_batch_of_one_image_for_a_device_is_left_out(
    digits: ImageData, batch_size: int, devices: int, steps: int
) -> None:
    config = TrainConfig(model="resnet8", data="digits", batch_size=batch_size, devices=devices).resolved()
    assert steps_per_epoch(config, len(digits.train)) == steps  # of 1,257 images
    train, _ = _batches(config, digits)
    assert len(train) == steps
