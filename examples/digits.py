"""The whole journey in one file: train, binarize, harden, pack, reload, predict.

The data are scikit-learn's handwritten digits (real scans of 8 x 8 pixels), which come with the library. Run
the file with ``make demo``; results go to the folder ``demo_out``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.torch import save as as_safetensors
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.data import Batches, load_data, load_split, preprocessing
from proxconnect.layers import binarized_weights
from proxconnect.trainer import evaluate

matplotlib.use("Agg")
from matplotlib import pyplot

OUT = Path("demo_out")
EPOCHS = 20
console = Console(highlight=False)


def main() -> int:
    """Run the journey; return 0 if the reloaded network answers as the hardened one, else 1."""
    OUT.mkdir(exist_ok=True)
    data = load_data("digits")
    statistics = {"mean": data.mean, "std": data.std}
    test_set = load_split("digits", "test")
    test = list(Batches(test_set, 90, **statistics))

    def batches() -> Batches:
        return Batches(data.train, 64, augmentation=data.augmentation, shuffle=True, **statistics)

    torch.manual_seed(0)
    float_model = network(classes=len(data.classes))
    float_optimizer = torch.optim.Adam(float_model.parameters(), lr=2e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(float_optimizer, EPOCHS)
    train(float_model, float_optimizer, batches(), "full precision", cosine.step)

    # Three lines make it a 1-bit network: binarize, train with mu that grows, harden.
    torch.manual_seed(0)
    model = pc.binarize_(network(classes=len(data.classes)), pc.BinarizeConfig(method="bnn++"))
    latents = [quantized(model)]
    optimizer = torch.optim.Adam(pc.param_groups(model))
    with pc.training(model, optimizer, steps=EPOCHS * len(batches())):
        train(model, optimizer, batches(), "BNN++", lambda: latents.append(quantized(model)))
    trained_accuracy = evaluate(model.eval(), test).accuracy
    latent_bytes = len(as_safetensors(model.state_dict()))
    pc.harden_(model)

    path = OUT / "digits.safetensors"
    pc.save(model, path, (test[0][0],), classes=list(data.classes), preprocessing=preprocessing(data))
    packed = pc.load(path)

    table = Table(title=f"Handwritten digits, {len(test_set)} test images")
    for column in ("network", "accuracy", "bytes", "ratio"):
        table.add_column(column, justify="left" if column == "network" else "right")
    float_bytes = len(as_safetensors(float_model.state_dict()))
    for name, accuracy, size in (
        ("full precision", evaluate(float_model.eval(), test).accuracy, float_bytes),
        ("BNN++ as trained (latent weights)", trained_accuracy, latent_bytes),
        (
            "BNN++ hardened, still float32",
            evaluate(model, test).accuracy,
            len(as_safetensors(model.state_dict())),
        ),
        ("BNN++ packed and reloaded", evaluate(packed, test).accuracy, path.stat().st_size),
    ):
        table.add_row(name, f"{accuracy:.2%}", f"{size:,}", f"{float_bytes / size:.1f} x")
    console.print(table)

    picture(packed, test_set.images, torch.cat([images for images, _ in test]), test_set.labels, latents)
    console.print(f"packed model: {path}\npicture: {OUT / 'digits.png'}")
    return report_equality(model, path, [images for images, _ in test])


def network(classes: int) -> nn.Sequential:
    """Make a plain PyTorch model, which knows nothing of 1-bit weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)),
    )


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    title: str,
    after_epoch: Callable[[], None],
) -> None:
    """Train a model in plain PyTorch."""
    model.train()
    with Progress(console=console) as progress:
        task = progress.add_task(title, total=EPOCHS)
        for epoch in range(EPOCHS):
            batches.set_epoch(epoch)
            for images, labels in batches:
                loss = functional.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            after_epoch()
            progress.update(task, advance=1, description=f"{title}: loss {loss.item():.4f}")


@torch.no_grad()
def quantized(model: nn.Module) -> Tensor:
    """Return ``F(w*/s)`` of all binarized layers."""
    latents = [(weight.latent, weight.quantizer) for weight in binarized_weights(model)]
    return torch.cat([q.pair(q.normalized(latent), q.mu).flatten() for latent, q in latents])


@torch.inference_mode()
def report_equality(hardened: nn.Module, path: Path, inputs: list[Tensor]) -> int:
    """Compare the reloaded network with the hardened one; return 0 if they agree as promised, else 1."""
    expected = torch.cat([hardened(images) for images in inputs])
    reference = torch.cat([pc.load(path, kernels="reference")(images) for images in inputs])
    fast = torch.cat([pc.load(path)(images) for images in inputs])
    difference = ((fast - expected).abs().max() / expected.abs().max()).item()
    agreements = {
        "reference kernels answer bit for bit as the hardened model": torch.equal(reference, expected),
        f"default kernels within 1e-5 (relative difference {difference:.1e})": difference <= 1e-5,
        "default kernels predict the same classes": torch.equal(fast.argmax(1), expected.argmax(1)),
    }
    for claim, holds in agreements.items():
        console.print(f"[{'green' if holds else 'red'}]{'yes' if holds else 'NO '}[/] {claim}")
    return 0 if all(agreements.values()) else 1


def picture(packed: nn.Module, scans: Tensor, inputs: Tensor, labels: Tensor, latents: list[Tensor]) -> None:
    """Draw the packed network's answers for some digits, and the movement of the weights onto two points."""
    with torch.inference_mode():
        answers = packed(inputs).argmax(1)
    figure = pyplot.figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))

    wrong = (answers != labels).nonzero().flatten().tolist()[:4]
    shown = (list(range(24 - len(wrong))) + wrong)[:24]
    left.suptitle("The packed network's answers (errors in red)")
    for axes, index in zip(left.subplots(4, 6).flat, shown, strict=True):
        axes.imshow(scans[index, 0], cmap="gray_r")
        axes.set_title(
            str(answers[index].item()), color="black" if answers[index] == labels[index] else "red", pad=2
        )
        axes.set_axis_off()

    edges = torch.linspace(-1.3, 1.3, 105)
    density = torch.stack([torch.histogram(step, edges).hist / step.numel() for step in latents], dim=1)
    axes = right.subplots()
    image = axes.imshow(
        density.clamp(min=1e-5),
        norm="log",
        origin="lower",
        aspect="auto",
        extent=(-0.5, EPOCHS + 0.5, -1.3, 1.3),
        cmap="magma",
    )
    axes.set(
        title="F(w*/s) moves onto -1 and +1 as mu grows",
        xlabel="epoch",
        ylabel="quantized weight before scaling",
    )
    axes.set_xticks(range(0, EPOCHS + 1, 5))
    right.colorbar(image, label="share of the weights")
    figure.savefig(OUT / "digits.png", dpi=120)


if __name__ == "__main__":
    sys.exit(main())
