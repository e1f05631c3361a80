"""Checkpoint files are verified, opened without running code, and refused in one line."""

from __future__ import annotations

import copy
import os
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every, same_tensors

import proxconnect as pc
from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, read_checkpoint, resume, train

Content = dict[str, Any]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil",)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def checkpoint(finished_runs: Path) -> Path:
    return finished_runs / "bw" / "checkpoint"


@pytest.fixture(scope="module")
def content(checkpoint: Path) -> Content:
    loaded: Content = torch.load(checkpoint, weights_only=True)
    return loaded


def refused(file: Path) -> str:
    """Read a checkpoint and make its model; return the one line with which it is refused."""
    with pytest.raises(TrainingError) as caught:
        read_checkpoint(file).build_model()
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("bad", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_refuses_bytes_that_are_no_checkpoint(bad: bytes, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(bad)
    assert "is not a checkpoint of 'proxconnect train'" in refused(file)


@pytest.mark.parametrize(
    "bad", [{}, {"proxconnect": 3}, [1], {"proxconnect": {"config": {}, "data": {}}}], ids=repr
)
def test_refuses_a_checkpoint_of_somebody_else(bad: object, tmp_path: Path) -> None:
    torch.save(bad, tmp_path / "checkpoint")
    assert "is not a checkpoint of 'proxconnect train'" in refused(tmp_path / "checkpoint")


def test_never_runs_pickled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"proxconnect": Evil()}, tmp_path / "checkpoint")
    assert "is not a checkpoint" in refused(tmp_path / "checkpoint")
    assert not (tmp_path / "evil").exists()


def first(content: Content) -> str:
    return next(
        name for name, value in content["state_dict"].items() if value.is_floating_point() and value.dim()
    )


def set_first(change: Callable[[torch.Tensor], Any]) -> Callable[[Content], None]:
    def apply(content: Content) -> None:
        name = first(content)
        content["state_dict"][name] = change(content["state_dict"][name])

    return apply


def ours(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["proxconnect"].update(values)


def data(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["proxconnect"]["data"].update(values)


def preprocessing(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["proxconnect"]["data"]["preprocessing"].update(values)


def config(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["proxconnect"]["config"].update(values)


CHANGES: dict[str, tuple[Callable[[Content], Any], str]] = {
    "a weight is missing": (lambda c: c["state_dict"].pop(first(c)), "has no tensor"),
    "a weight too many": (
        lambda c: c["state_dict"].update({"model.x": torch.ones(1)}),
        "tensor that the model",
    ),
    "a weight of another dtype": (
        set_first(torch.Tensor.double),
        "is torch.float64 .*, expected torch.float32",
    ),
    "a weight of another shape": (set_first(lambda t: t[:1]), "expected torch.float32"),
    "a sparse weight": (set_first(torch.Tensor.to_sparse), "sparse"),
    "a weight that is a list": (set_first(torch.Tensor.tolist), "of type list"),
    "weights by numbers": (lambda c: c.update(state_dict={1: torch.ones(1)}), "not a checkpoint"),
    "no weights": (lambda c: c.update(state_dict=None), "not a checkpoint"),
    "one class": (data(classes=["a"]), "tensor 'head\\.(weight|bias)'"),
    "no class": (data(classes=[]), "classes are"),
    "classes that are numbers": (data(classes=[1, 2]), "classes are"),
    "preprocessing null": (data(preprocessing=None), "preprocessing is None"),
    "size a string": (preprocessing(size="x"), "preprocessing size"),
    "size 10^6 x 10^6": (preprocessing(size=[10**6, 10**6]), "preprocessing size"),
    "mean not finite": (preprocessing(mean=[float("nan")]), "preprocessing mean"),
    "unknown model": (config(model="resnet21"), "unknown model 'resnet21'"),
    "model a number": (config(model=3), "model is 3, of type int; expected str"),
    "unknown option": (config(modle="resnet8"), "did you mean 'model'"),  # codespell:ignore
    "epochs a string": (config(epochs="many"), "epochs is 'many', of type str; expected int"),
    "unknown method": (config(method="bnn+++"), "did you mean 'bnn"),
    "unknown setting": (config(setting="bww"), "bww"),
    "levels no numbers": (config(levels="a,b"), "levels"),
    "scale no number": (config(scale="x"), "scale"),
    "a seed of many digits": (config(seed=10**40), "cannot be made"),
    "no metrics": (ours(metrics=None), "not a checkpoint"),
    "metrics a string": (ours(metrics={"val_accuracy": "good"}), "not a checkpoint"),
    "epoch a string": (lambda c: c.update(epoch="last"), "not a checkpoint"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_refuses_contents_that_do_not_fit(name: str, content: Content, tmp_path: Path) -> None:
    changed = copy.deepcopy(content)
    change, words = CHANGES[name]
    change(changed)
    torch.save(changed, tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match=words):
        read_checkpoint(tmp_path / "checkpoint").build_model()
    refused(tmp_path / "checkpoint")


def test_a_checkpoint_without_the_squares_of_mu_loads(content: Content, tmp_path: Path) -> None:
    """Checkpoints of earlier releases do not have the squares of mu."""
    earlier = copy.deepcopy(content)
    squares = [name for name in earlier["state_dict"] if name.endswith(".mu_squared")]
    assert squares
    for name in squares:
        del earlier["state_dict"][name]
    torch.save(earlier, tmp_path / "checkpoint")
    state = read_checkpoint(tmp_path / "checkpoint").build_model().state_dict()
    assert {state[name.removeprefix("model.")].item() for name in squares} == {0.0}


def test_a_flipped_bit_is_seen_wherever_it_matters(checkpoint: Path, tmp_path: Path) -> None:
    """Either the file is refused, or it still holds the same."""
    whole, expected = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    with zipfile.ZipFile(checkpoint) as archive:
        parts = sorted(archive.infolist(), key=lambda part: part.file_size)
        start = archive.start_dir
    chosen = random.Random(0)
    inside = [part.header_offset + 30 + len(part.filename) + part.file_size // 2 for part in parts[-3:]]
    ends = [*chosen.sample(range(200), 12), *chosen.sample(range(start, len(whole)), 24)]
    file, refusals = tmp_path / "checkpoint", []
    for place in [*inside, *ends, *chosen.sample(range(len(whole)), 24)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chosen.randrange(8)
        file.write_bytes(damaged)
        try:
            found = read_checkpoint(file)
        except TrainingError as error:
            refusals.append(str(error))
            continue
        assert (found.config, found.data, found.epoch) == (expected.config, expected.data, expected.epoch)
        assert same_tensors(found.weights, expected.weights)
    assert len(refusals) > len(inside)
    assert every("\n" not in refusal for refusal in refusals)


def test_a_flipped_bit_of_a_weight_is_called_damage(checkpoint: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    damaged = bytearray(checkpoint.read_bytes())
    damaged[largest.header_offset + 30 + len(largest.filename) + largest.file_size // 2] ^= 64
    (tmp_path / "checkpoint").write_bytes(damaged)
    said = refused(tmp_path / "checkpoint")
    assert f"is damaged: the checksum of its part {largest.filename} is wrong" in said
    with pytest.raises(TrainingError, match="is damaged"):
        resume(tmp_path, {}, show=quiet)


def test_tensors_that_an_earlier_release_did_not_have_are_not_missed(
    content: Content, tmp_path: Path
) -> None:
    weights = {
        name: value for name, value in content["state_dict"].items() if not name.endswith("mu_squared")
    }
    assert len(weights) < len(content["state_dict"])
    torch.save({**content, "state_dict": weights}, tmp_path / "checkpoint")
    assert read_checkpoint(tmp_path).build_model().training is False


MINE = """
import proxconnect as pc
open("imported", "a").close()
mine = pc.ForwardBackward(pc.method("bnn++").forward, pc.method("bnn++").backward, name="mine")
"""


@pytest.fixture
def of_own_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder of a run with a pair of one's own, and forget the pair's module."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_pair_of_a_run.py").write_text(MINE)
    values = {"pair": "own_pair_of_a_run:mine", "mu_end": 30.0}
    train(
        TrainConfig(
            model="resnet8", data="digits", epochs=1, limit_train_batches=1, limit_val_batches=1, **values
        ),
        tmp_path / "run",
        show=quiet,
    )
    monkeypatch.delitem(sys.modules, "own_pair_of_a_run")
    (tmp_path / "imported").unlink()
    return tmp_path / "run"


def test_a_pair_that_a_checkpoint_names_is_not_imported(of_own_pair: Path) -> None:
    checkpoint = read_checkpoint(of_own_pair)
    model = checkpoint.build_model()
    with pytest.raises(
        TrainingError, match="trained with the pair own_pair_of_a_run:mine, which is imported only"
    ):
        model(torch.zeros(2, 1, 8, 8))
    hardened = pc.harden_(model)
    same = pc.harden_(checkpoint.build_model(pc.method("bnn++")))
    inputs = torch.rand(2, 1, 8, 8)
    assert torch.equal(hardened(inputs), same(inputs))
    with pytest.raises(TrainingError, match="add --pair own_pair_of_a_run:mine"):
        resume(of_own_pair, {}, show=quiet)
    with pytest.raises(TrainingError, match="add --pair own_pair_of_a_run:mine"):
        resume(of_own_pair, {"pair": "another:pair"}, show=quiet)
    assert not Path("imported").exists()
    assert resume(of_own_pair, {"pair": "own_pair_of_a_run:mine"}, show=quiet).config.method == "mine"
    assert Path("imported").exists()


def test_a_pair_beside_full_precision_is_not_imported_either(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--init and --teacher read other checkpoints, of settings that need no pair."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_pair.py").write_text("open('imported', 'a').close()")
    for setting in ("fp", "bw"):
        changed = copy.deepcopy(content)
        changed["proxconnect"]["config"].update(pair="evil_pair:x", setting=setting)
        torch.save(changed, tmp_path / "checkpoint")
        for option in ("init", "teacher"):
            values = {option: str(tmp_path / "checkpoint")}
            with pytest.raises(TrainingError):
                train(TrainConfig(model="resnet8", data="digits", **values), tmp_path / "run", show=quiet)
    assert not (tmp_path / "imported").exists()
    assert not (tmp_path / "run").exists()
