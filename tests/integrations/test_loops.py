"""A plain loop and the loops of other libraries, which train alike: same losses, same weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from looking import every, same_tensors
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

import proxconnect as pc
from proxconnect.integrations.lightning import ProxConnectCallback
from proxconnect.integrations.loops import regroup_latents_
from proxconnect.integrations.transformers import ProxConnectTrainer
from proxconnect.layers import binarized_weights

ROOT = Path(__file__).parents[2]
EPOCHS, BATCH = 2, 8
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3
DATA = TensorDataset(X, Y)


def network() -> nn.Module:
    torch.manual_seed(1)
    layers = (
        nn.Linear(6, 16, bias=False),  # BatchNorm takes a bias out again, so its gradient is rounding alone
        nn.BatchNorm1d(16),
        nn.Hardtanh(),
        nn.Linear(16, 16),
        nn.Hardtanh(),
        nn.Linear(16, 3),
    )
    return nn.Sequential(*layers)


def binarized_network() -> nn.Module:
    return pc.binarize_(network(), pc.BinarizeConfig("bnn++"))


def factory(model: nn.Module, weight_decay: float = 0) -> torch.optim.Optimizer:
    """Make an optimizer as a library would: all parameters in one group."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=weight_decay)


class Lit(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model, self.losses = binarized_network(), []  # type: ignore[var-annotated]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        loss = cross_entropy(self.model(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = factory(self)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)]


def trainer_of_lightning(folder: Path, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    usual = {"max_epochs": EPOCHS, "enable_checkpointing": False, "callbacks": [ProxConnectCallback()]}
    return Trainer(default_root_dir=folder, accelerator="cpu", **{**quiet, **usual, **options})


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model, self.losses = binarized_network(), []  # type: ignore[var-annotated]

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = cross_entropy(self.model(x), labels)
        self.losses.append(loss.item())
        return {"loss": loss}


class InOrder(ProxConnectTrainer):
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return SequentialSampler(DATA)


def trainer_of_transformers(folder: Path, model: nn.Module, **options: Any) -> InOrder:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH,
        learning_rate=1e-3, lr_scheduler_type="constant", max_grad_norm=0, optim="adamw_torch",
        report_to=[], disable_tqdm=True, **{"save_strategy": "no", **options},
    )  # fmt: skip
    rows = [{"x": x, "labels": y} for x, y in DATA]
    return InOrder(model=model, args=arguments, train_dataset=rows)


LOOPS = (
    "A plain loop",
    "Lightning",
    "The Trainer of Hugging Face; it needs the extra `transformers`",
    "Accelerate",
)


def loops_of_the_guide() -> dict[str, str]:
    """Return the code of the guide that shows one training in four loops, by the words above each block."""
    page = (ROOT / "docs/guide.md").read_text()
    section = page.split("### In Lightning, transformers and Accelerate\n")[1].split("\n### ")[0]
    return dict(re.findall(r"^([^\n]+):\n\n```python\n(.*?)```", section, re.MULTILINE | re.DOTALL))


def trained_as(loop: str, blocks: dict[str, str]) -> tuple[nn.Module, list[float]]:
    """Run a block of the guide after the one that all share; return the network and its losses."""
    losses = []

    def recorded(outputs: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(outputs, labels)
        losses.append(loss.item())
        return loss

    names: dict[str, Any] = {"make_network": network, "data": DATA}
    shared = next(code for words, code in blocks.items() if words not in LOOPS)
    exec(shared, names)
    names["cross_entropy"] = recorded
    exec(blocks[loop], names)
    return names["model"], losses


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops write their logs to a folder of the test, and train on the processor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_guide_shows_four_loops_in_at_most_12_lines_each() -> None:
    blocks = loops_of_the_guide()
    assert len(blocks) == 1 + len(LOOPS)
    assert set(LOOPS) < set(blocks)
    assert max(sum(bool(line.strip()) for line in code.splitlines()) for code in blocks.values()) <= 12


@pytest.mark.parametrize("loop", LOOPS[1:], ids=["lightning", "transformers", "accelerate"])
def test_each_loop_of_the_guide_trains_as_the_plain_one(loop: str, quiet: None) -> None:
    blocks = loops_of_the_guide()
    model, losses = trained_as(LOOPS[0], blocks)
    found, found_losses = trained_as(loop, blocks)
    assert len(losses) == 3 * len(DATA) // BATCH
    assert found_losses == pytest.approx(losses, rel=1e-5)
    for (name, have), want in zip(found.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5, msg=name)
    assert every(weight.quantizer.mu.item() == pytest.approx(300) for weight in binarized_weights(found))


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[float]:
    """Return the learning rate of each latent, in units of its scale."""
    groups = {id(each): group for group in optimizer.param_groups for each in group["params"]}
    found = []
    for weight in binarized_weights(model):
        group = groups[id(weight.latent)]
        assert group["weight_decay"] == 0
        assert len(group["params"]) == 1
        found.append(group["lr"] / weight.quantizer.latent_scale.mean().item())
    return found


def test_latents_leave_the_groups_of_a_factory() -> None:
    model = binarized_network()
    optimizer = factory(model, weight_decay=0.1)
    assert regroup_latents_(optimizer, model) is optimizer
    assert rates(optimizer, model) == pytest.approx([0.05])
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    before = [dict(group) for group in optimizer.param_groups]
    regroup_latents_(optimizer, model)
    assert len(optimizer.param_groups) == len(before)  # the second time changes nothing


def test_other_optimizers_keep_the_rate_of_the_group() -> None:
    model = binarized_network()
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    regroup_latents_(optimizer, model)
    rest, latents = optimizer.param_groups
    assert (rest["lr"], latents["lr"], latents["momentum"], latents["weight_decay"]) == (0.1, 0.1, 0.9, 0)
    assert latents["param_names"] == ["3.parametrizations.weight.original"]
    assert "3.parametrizations.weight.original" not in rest["param_names"]
    regroup_latents_(optimizer, model)
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=10),
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 1e-2, cycle_momentum=False),
        lambda optimizer: torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3),
                torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
            ],
            milestones=[3],
        ),
    ],
    ids=["lambda", "cosine", "one cycle", "cyclic", "sequential"],
)
def test_schedulers_move_latents_in_proportion(make: Callable[[Any], Any]) -> None:
    model = binarized_network()
    optimizer = factory(model)
    scheduler = make(optimizer)
    regroup_latents_(optimizer, model, schedulers=[scheduler])
    rest, latents = optimizer.param_groups
    factor, seen = latents["lr"] / rest["lr"], set()
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        seen.add(rest["lr"])
        assert latents["lr"] / rest["lr"] == pytest.approx(factor)
    assert len(seen) > 3


def test_a_fit_of_lightning_goes_on_where_a_checkpoint_was(tmp_path: Path) -> None:
    whole, resumed = Lit(), Lit()
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer = trainer_of_lightning(
        tmp_path, callbacks=[ProxConnectCallback(), saving], enable_checkpointing=True
    )
    trainer.fit(whole, DataLoader(DATA, BATCH))
    trainer_of_lightning(tmp_path).fit(resumed, DataLoader(DATA, BATCH), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert same_tensors(resumed.state_dict(), whole.state_dict())
    assert resumed.losses == whole.losses[len(DATA) // BATCH :]


def test_a_run_of_transformers_goes_on_where_a_checkpoint_was(tmp_path: Path) -> None:
    whole, resumed = Classifier(), Classifier()
    trainer_of_transformers(tmp_path, whole, save_strategy="epoch").train()
    first = tmp_path / f"checkpoint-{len(DATA) // BATCH}"
    trainer_of_transformers(tmp_path, resumed).train(resume_from_checkpoint=str(first))
    assert same_tensors(resumed.state_dict(), whole.state_dict())
    assert resumed.losses == whole.losses[len(DATA) // BATCH :]


def test_statistics_are_logged(tmp_path: Path) -> None:
    module = Lit()
    trainer = trainer_of_lightning(tmp_path)
    trainer.fit(module, DataLoader(DATA, BATCH))
    assert trainer.callback_metrics["proxconnect/mu"] == 300
    trained = trainer_of_transformers(tmp_path, Classifier(), logging_steps=4)
    trained.train()
    logged = [entry for entry in trained.state.log_history if "proxconnect/mu" in entry]
    assert [entry["proxconnect/step"] for entry in logged][:2] == [4, 8]
    assert logged[1]["proxconnect/mu"] == 300


def test_a_fit_without_a_number_of_steps_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of_lightning(tmp_path, max_epochs=-1)
    with pytest.raises(
        pc.ProxConnectError, match="the number of steps is unknown: give the Trainer max_steps"
    ):
        trainer.fit(Lit(), DataLoader(DATA, BATCH))


def test_a_fit_that_fails_leaves_the_optimizer_alone(tmp_path: Path) -> None:
    class Failing(Lit):
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            if index == 1:
                raise RuntimeError("the disk is full")
            return super().training_step(batch, index)

    trainer = trainer_of_lightning(tmp_path)
    with pytest.raises(RuntimeError, match="the disk is full"):
        trainer.fit(Failing(), DataLoader(DATA, BATCH))
    optimizer = trainer.optimizers[0]
    assert not optimizer._optimizer_step_post_hooks
