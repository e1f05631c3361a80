"""The quantized weight as one node: its formula, its gradients, and how little it keeps."""

from __future__ import annotations

import pytest
import torch
from all_maps import METHODS
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import BinarizedWeight, binarized_weights

LAYERS = {
    "linear": lambda: nn.Linear(7, 3),
    "conv": lambda: nn.Conv2d(4, 3, 3),
    "transposed": lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
}
SCALES = ["channel", "tensor", None, 5]


def binarized(layer: nn.Module, dtype: torch.dtype, **config: object) -> BinarizedWeight:
    pc.binarize_(layer.to(dtype), pc.BinarizeConfig(**config), lambda module, name: True)  # type: ignore[arg-type]
    (found,) = binarized_weights(layer)
    with torch.no_grad():
        found.latent.mul_(1.5)  # alpha is no longer s
    found.quantizer.mu.fill_(1.25)
    return found


def literal(found: BinarizedWeight, g: Tensor) -> tuple[Tensor, ...]:
    """``alpha F(w*/s)``, ``B(w*/s) (alpha/s) g``, and ``F(w*/s) g``, whose sums are ``dl/dalpha``."""
    quantizer, latent = found.quantizer, found.latent.detach()
    alpha, s, mu = quantizer.scale(latent).detach(), quantizer.latent_scale, quantizer.mu.double()
    quantized, slope = (f(latent / s, mu) for f in (quantizer.pair.forward, quantizer.pair.backward))
    return alpha * quantized, slope * (alpha / s) * g, quantized * g


@pytest.mark.parametrize(
    ("scale", "learn_scale"),
    [(scale, learned) for scale in SCALES for learned in (False, True) if not (scale is None and learned)],
    ids=str,
)
@pytest.mark.parametrize("kind", LAYERS)
def test_equals_its_literal_form(kind: str, scale: str | int | None, learn_scale: bool) -> None:
    torch.manual_seed(0)
    found = binarized(LAYERS[kind](), torch.float64, scale=scale, learn_scale=learn_scale)
    weight = found.module.weight
    g = torch.randn_like(weight)
    value, of_latent, of_members = literal(found, g)
    weight.backward(g)
    torch.testing.assert_close(weight, value, rtol=1e-14, atol=0)
    torch.testing.assert_close(found.latent.grad, of_latent, rtol=1e-14, atol=1e-300)
    if learn_scale:
        learned = found.quantizer.learned_scale
        members = [torch.zeros_like(learned).flatten() for _ in range(2)]
        for at in range(learned.numel()):
            one = torch.zeros(learned.numel(), dtype=learned.dtype)
            one[at] = 1
            mask = found.quantizer.rows.spread(one.reshape(learned.shape)).expand_as(weight)
            members[0][at] = (mask * of_members).sum()
            members[1][at] = mask.sum()
        torch.testing.assert_close(learned.grad.flatten(), members[0], rtol=1e-12, atol=1e-14)
        assert members[1].sum() == weight.numel()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_in_every_precision(method: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    found = binarized(nn.Linear(40, 6, bias=False), dtype, method=method)
    weight = found.module.weight
    g = torch.randn(weight.shape).to(dtype)
    value, of_latent, _ = literal(found, g)
    weight.backward(g)
    assert weight.dtype == found.latent.grad.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(weight, value, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.latent.grad, of_latent, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_the_mu_of_the_forward() -> None:
    torch.manual_seed(0)
    found = binarized(nn.Linear(8, 4), torch.float64)
    weight = found.module.weight
    g = torch.randn_like(weight)
    _, expected, _ = literal(found, g)
    found.quantizer.mu.fill_(50.0)
    weight.backward(g)
    torch.testing.assert_close(found.latent.grad, expected)


def test_a_frozen_latent_leaves_the_learned_scale_its_gradient() -> None:
    found = binarized(nn.Linear(8, 4), torch.float64, learn_scale=True)
    found.latent.requires_grad_(False)
    found.module.weight.sum().backward()
    assert found.latent.grad is None
    assert found.quantizer.learned_scale.grad.abs().sum() > 0


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    cnn = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 2, 3)
    )
    mlp = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 2))
    return {"cnn": (cnn, torch.randn(2, 3, 12, 12)), "mlp": (mlp, torch.randn(5, 24))}


@pytest.mark.parametrize("config", [{}, {"scale": 8}, {"learn_scale": True}, {"method": "bc"}], ids=str)
@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_autograd_keeps_one_tensor_for_each_binarized_weight(kind: str, config: dict[str, object]) -> None:
    def kept(model: nn.Module, x: Tensor) -> list[int]:
        """Numbers in what is kept for the backward pass, parameters and buffers aside."""
        own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
        found: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = model(x)
        assert outputs.requires_grad  # and holds what was kept until here
        return sorted(found.values())

    model, x = networks()[kind]
    full = kept(model, x)
    pc.binarize_(model, pc.BinarizeConfig(**config))  # type: ignore[arg-type]
    weights = [found.latent.numel() for found in binarized_weights(model)]
    scales = [found.quantizer.exact_scale(found.latent).numel() for found in binarized_weights(model)]
    extra = kept(model, x)
    for numbers in full:
        extra.remove(numbers)
    assert len(weights) == 2
    for numbers in weights:
        extra.remove(numbers)
    assert every(numbers <= max(scales) for numbers in extra)
    assert sum(extra) <= 2 * sum(scales)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_parts_are_what_the_weight_is_made_of(method: str, dtype: torch.dtype) -> None:
    found = binarized(nn.Linear(40, 9), dtype, method=method)
    weight, codes, scale = found.quantizer(found.latent, in_parts=True)
    assert torch.equal(weight, found.module.weight)
    assert torch.equal(weight, found.quantizer.rows.spread(scale) * codes)
    assert not codes.requires_grad
    g = torch.randn_like(weight)
    (of_latent,) = torch.autograd.grad(weight, found.latent, g)
    (expected,) = torch.autograd.grad(found.module.weight, found.latent, g)
    assert torch.equal(of_latent, expected)
