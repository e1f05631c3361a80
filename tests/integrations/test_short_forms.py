"""Short forms of decoder layers and their parts: what the modules of transformers give."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from language_models import VOCABULARY, binary, tiny
from looking import every
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

import proxconnect as pc
from proxconnect.engine import direct_call
from proxconnect.integrations.transformers import _roomy_cache, _short_forms
from proxconnect.integrations.transformers._roomy_cache import can_append, with_room_for_token
from proxconnect.integrations.transformers._short_forms import _ShortForm


def attention_of_torch(token: Any, rotation: Any, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Compute what ``token_attention`` does, by the operators of transformers, in their order."""
    query, key, value = token
    cos, sin = (each[:, None] for each in rotation)

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin

    keys[:, :, -1], values[:, :, -1] = rotated(key), value
    shared = query.shape[1] > key.shape[1]
    found = functional.scaled_dot_product_attention(
        rotated(query)[:, :, None], keys, values, scale=scale, enable_gqa=shared
    )
    return found.transpose(1, 2)


def norm_of_torch(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon))


@pytest.fixture
def torch_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short forms give the bits of the modules of transformers: kernels sum in another order."""
    monkeypatch.setattr(_short_forms, "token_attention", attention_of_torch)
    monkeypatch.setattr(_short_forms, "rms_norm", norm_of_torch)


FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def packed(family: str = "llama", activations: str | None = None, kernels: str = "fast", **sizes: Any) -> Any:
    sizes = {"sliding_window": None} | sizes if family == "mistral" else sizes
    return pc.pack_(binary(tiny(family, **sizes), everything=True), kernels, activations)


def plain(model: Any) -> Any:
    """Copy a model and give its modules the classes of transformers back."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, _ShortForm):
            module.__class__ = module.plain
    return model


def text(length: int, batch: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(batch))


def steps(model: Any, tokens: Tensor, prompt: int = 3) -> tuple[Tensor, DynamicCache]:
    """Read a prompt, then one token after the other: all logits, and the cache."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        parts = [model(tokens[:, :prompt], cache=cache).logits]
        for place in range(prompt, tokens.shape[1]):
            parts.append(model(tokens[:, place : place + 1], cache=cache).logits)
    return torch.cat(parts, dim=1), cache


def took_the_short_way(cache: DynamicCache) -> bool:
    return every(_roomy_cache._ROOM in layer.__dict__ for layer in cache.layers)


@pytest.mark.parametrize("activations", [None, "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_one_by_one_give_what_the_modules_of_transformers_give(
    family: str, activations: str | None, monkeypatch: pytest.MonkeyPatch, torch_operators: None
) -> None:
    monkeypatch.setattr(_roomy_cache, "_LEAST_ROOM", 2)  # tensors grow on the way
    model = packed(family, activations)
    found, cache = steps(model, text(9, batch=2))
    expected, other = steps(plain(model), text(9, batch=2))
    assert took_the_short_way(cache)
    assert every(_roomy_cache._ROOM not in layer.__dict__ for layer in other.layers)
    assert torch.equal(found, expected)
    assert cache.get_seq_length() == other.get_seq_length() == 9
    assert torch.equal(cache.layers[0].keys, other.layers[0].keys)
    assert torch.equal(cache.layers[0].values, other.layers[0].values)


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_around_the_products_give_the_same_up_to_rounding(family: str) -> None:
    model = packed(family)
    found, cache = steps(model, text(9, batch=2))
    expected, other = steps(plain(model), text(9, batch=2))
    assert took_the_short_way(cache)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cache.layers[0].keys, other.layers[0].keys, rtol=1e-4, atol=1e-5)


def test_a_decoder_layer_computes_without_the_calls_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = packed()
    expected, _ = steps(model, text(5))
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(text(5)[:, :3], cache=cache)
        for part in (model.model.layers[0].self_attn, model.model.layers[0].mlp):
            monkeypatch.setattr(type(part), "__call__", None)
        found = model(text(5)[:, 3:4], cache=cache).logits
    assert torch.equal(found, expected[:, 3:4])


def test_a_padded_batch_beams_and_a_static_cache_generate_as_before() -> None:
    model = packed()
    before = plain(model)
    prompt = text(6, batch=2).clamp_min(1)
    prompt[0, :3] = 0
    options = {"attention_mask": (prompt != 0).long(), "max_new_tokens": 5, "pad_token_id": 0}
    for more in ({}, {"num_beams": 2}, {"cache_implementation": "static"}, {"use_cache": False}):
        found = model.generate(prompt, do_sample=False, **options, **more)
        assert torch.equal(found, before.generate(prompt, do_sample=False, **options, **more)), more


def _hooked(model: Any) -> None:
    model.model.layers[0].self_attn.q_proj.register_forward_hook(lambda layer, given, output: output * 2)
    model.model.layers[0].mlp.up_proj.register_forward_pre_hook(lambda layer, given: (given[0] * 2,))


def _hooked_parts(model: Any) -> None:
    layer = model.model.layers[0]
    layer.input_layernorm.register_forward_hook(lambda norm, given, output: output * 2)
    layer.mlp.register_forward_pre_hook(lambda network, given: (given[0] * 2,))


def _own_forward_of_a_part(model: Any) -> None:
    norm = model.model.layers[0].post_attention_layernorm
    norm.forward = lambda x: x * 0.5


def _another_activation(model: Any) -> None:
    model.model.layers[0].mlp.act_fn = nn.Tanh()


def _with_eager_attention(model: Any) -> None:
    model.set_attn_implementation("eager")


def _unpacked_head(model: Any) -> None:
    attention = model.model.layers[0].self_attn
    attention.v_proj = nn.Linear(256, attention.v_proj.out_features, bias=False)
    nn.init.constant_(attention.v_proj.weight, 0.01)


def _own_forward(model: Any) -> None:
    layer = model.model.layers[0].mlp.gate_proj
    layer.forward = lambda x: torch.ones(*x.shape[:-1], layer.out_features)


def _in_bfloat16(model: Any) -> None:
    model.to(torch.bfloat16)


CHANGES = [
    _hooked,
    _hooked_parts,
    _own_forward_of_a_part,
    _another_activation,
    _with_eager_attention,
    _unpacked_head,
    _own_forward,
    _in_bfloat16,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_computes_what_it_says(change: Callable[[Any], None], torch_operators: None) -> None:
    model = packed()
    unchanged, _ = steps(model, text(5))
    before = plain(model)
    change(model)
    change(before)
    found, _ = steps(model, text(5))
    expected, _ = steps(before, text(5))
    assert torch.equal(found, expected)
    if change is not _with_eager_attention:
        assert not torch.allclose(found.float(), unchanged, rtol=1e-3, atol=1e-3)


def test_gradients_pass_and_watchers_see_the_layers() -> None:
    model = packed()
    embedded = torch.randn(1, 4, 256, requires_grad=True)
    model(inputs_embeds=embedded).logits.square().mean().backward()
    assert embedded.grad is not None
    assert embedded.grad.abs().sum() > 0
    seen: list[nn.Module] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, output: seen.append(module))
    try:
        steps(model, text(4))
    finally:
        handle.remove()
    assert seen.count(model.model.layers[0].self_attn.q_proj) == 2  # the prompt, and one token


def test_a_nan_stays_in_its_row() -> None:
    model = packed(activations="int8")
    embedded = torch.randn(2, 1, 256, generator=torch.Generator().manual_seed(0))
    embedded[0, 0, 3] = torch.nan
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(text(3, batch=2), cache=cache)
        found = model(inputs_embeds=embedded, cache=cache).logits
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_copies_and_pickles_of_a_model_compute_the_same() -> None:
    model = packed()
    expected, cache = steps(model, text(6))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert any(isinstance(module, _ShortForm) for module in twin.modules())
        assert torch.equal(steps(twin, text(6))[0], expected)
    again = copy.deepcopy(cache)
    token = text(1)
    with torch.no_grad():
        both = [model(token, cache=kept).logits for kept in (cache, again)]
    assert torch.equal(*both)


def test_models_of_the_reference_and_of_floats_stay_as_they_are() -> None:
    for model in (packed(kernels="reference"), binary(tiny()), pc.harden_(binary(tiny()))):
        assert every(not isinstance(module, _ShortForm) for module in model.modules())


def test_direct_calls_are_for_layers_that_do_nothing_else() -> None:
    layer = packed().model.layers[0].mlp.up_proj
    x = torch.randn(2, 256)
    call = direct_call(layer)
    assert call is not None
    with torch.no_grad():
        assert torch.equal(call(x), layer(x))
    handle = layer.register_forward_hook(lambda *given: None)
    assert direct_call(layer) is None
    handle.remove()
    layer.bias = nn.Parameter(torch.ones(layer.out_features))  # which the layer adds, and the call would not
    assert direct_call(layer) is None
    assert direct_call(nn.Linear(2, 2)) is None


def random_layer(tokens: int) -> DynamicLayer:
    layer = DynamicLayer()
    layer.update(torch.randn(2, 3, tokens, 4), torch.randn(2, 3, tokens, 4))
    return layer


def test_a_roomy_layer_holds_what_a_layer_of_transformers_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_roomy_cache, "_LEAST_ROOM", 3)
    torch.manual_seed(0)
    layer = random_layer(5)
    other = copy.deepcopy(layer)
    changes: dict[int, Callable[[Any], Any]] = {
        4: lambda kept: kept.crop(-3),
        9: lambda kept: kept.batch_select_indices(torch.tensor([1, 0])),
        12: lambda kept: kept.update(torch.ones(2, 3, 2, 4), torch.ones(2, 3, 2, 4)),
    }
    earlier = []
    for step in range(20):
        if step in changes:
            for kept in (layer, other):
                changes[step](kept)
        key, value = torch.randn(2, 2, 3, 1, 4)
        assert can_append(layer, 2)
        found = with_room_for_token(layer)
        found[0][:, :, -1:], found[1][:, :, -1:] = key, value
        expected = other.update(key, value)
        assert every(torch.equal(*pair) for pair in zip(found, expected, strict=True))
        assert layer.get_seq_length() == other.get_seq_length()
        if step > 12:
            earlier.append((layer.keys, layer.keys.clone()))
    assert every(torch.equal(kept, then) for kept, then in earlier)


def test_a_layer_that_grew_in_inference_mode_goes_on_outside_of_it() -> None:
    layer = random_layer(5)
    with torch.inference_mode():
        for grown in with_room_for_token(layer):
            grown[:, :, -1] = 1
    keys, _ = with_room_for_token(layer)
    keys[:, :, -1] = 0
    assert torch.equal(keys[:, :, 5:], torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).expand(2, 3, 2, 4))


def test_layers_of_other_kinds_are_left_to_transformers() -> None:
    class Another(DynamicLayer):
        pass

    layer = random_layer(5)
    assert can_append(layer, 2)
    assert not can_append(layer, 1)
    assert not can_append(DynamicLayer(), 2)
    assert not can_append(Another(), 2)
    layer.keys = layer.keys.bfloat16()
    assert not can_append(layer, 2)
