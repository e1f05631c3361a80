"""Modules of transformers that compute in fewer operations what they compute, around packed layers.

A packed model's products take about half the time of a token. The rest goes to a few hundred small operators
of torch and to the Python between them. Decoder layers and their parts have a short form here. It is the
user's own module with another class. It computes what the module's own ``forward`` computes, up to the
rounding of floats, for float32 on the CPU where nobody watches. Everything else goes to that ``forward``.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from transformers import DynamicCache

from proxconnect.base.eager import unobserved
from proxconnect.engine import PackedLayer, direct_call
from proxconnect.integrations.transformers._roomy_cache import can_append, with_room_for_token
from proxconnect.kernels import rms_norm, token_attention
from proxconnect.layers import is_hooked

# The architectures whose feed-forward networks and attention are those that are written here.
_FAMILIES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
# What a decoder layer gets, and gives its attention, where nothing special is asked for.
_PLAIN_CALL = {"hidden_states", "attention_mask", "position_ids", "cache", "use_cache", "position_embeddings"}
# What a decoder layer is made of: a norm and attention, a norm and a feed-forward network.
_PARTS_OF_LAYER = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")


class _ShortForm(nn.Module):
    """A module with a short form; ``plain`` is the class that it had."""

    plain: ClassVar[type[nn.Module]]
    _modules: dict[str, nn.Module]  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made here and has no name that a pickle could find.
        return _blank, (self.plain,), self.__getstate__()  # type: ignore[no-untyped-call]


class _ShortFeedForward(_ShortForm):
    """``down(act(gate(x)) * up(x))``, with the kernels of the three layers called at once."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output."""
        if not _alone(x):
            return cast(Tensor, super().forward(x))
        layers = self._modules
        opened, values = _output(layers["gate_proj"], x), _output(layers["up_proj"], x)
        inner = layers["act_fn"](opened) * values
        return _output(layers["down_proj"], inner)


class _ShortNorm(_ShortForm):
    """Root mean square normalization by a kernel."""

    weight: Tensor
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Compute the output."""
        weight = self._parameters["weight"]
        if _alone(hidden_states) and weight is not None and weight.dtype is torch.float32 and weight.is_cpu:
            return rms_norm(hidden_states, weight, self.variance_epsilon)
        return cast(Tensor, super().forward(hidden_states))


class _ShortAttention(_ShortForm):
    """Attention of one new token to those of a cache that has room for it."""

    config: Any
    layer_idx: int
    head_dim: int
    scaling: float

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Compute the output, and the weights of the attention where they are asked for."""
        if not args and kwargs.keys() <= _PLAIN_CALL and kwargs.get("attention_mask") is None:
            output = self.of_one_token(
                kwargs.get("hidden_states"), kwargs.get("position_embeddings"), kwargs.get("cache")
            )
            if output is not None:
                return output, None
        return cast("tuple[Tensor, Tensor | None]", super().forward(*args, **kwargs))

    def of_one_token(self, x: Tensor | None, rotation: Any, kept: Any) -> Tensor | None:
        """Compute the output for a token of each text; None where the module's own forward has to."""
        if x is None or rotation is None or x.ndim != 3 or x.shape[1] != 1 or self.training or not _alone(x):
            return None
        if self.config._attn_implementation != "sdpa":
            return None
        if type(kept) is not DynamicCache or kept.offloading or self.layer_idx >= len(kept.layers):
            return None
        before: Any = kept.layers[self.layer_idx]
        layers, texts = self._modules, x.shape[0]
        if not can_append(before, texts):
            return None
        products = (_output(layers[name], x) for name in ("q_proj", "k_proj", "v_proj"))
        query, key, value = (product.view(texts, -1, self.head_dim) for product in products)
        if "q_norm" in layers:
            query, key = layers["q_norm"](query), layers["k_norm"](key)
        cos, sin = (each.squeeze(1) for each in rotation)
        keys, values = with_room_for_token(before)
        found = token_attention((query, key, value), (cos, sin), keys, values, self.scaling)
        return _output(layers["o_proj"], found.view(texts, 1, -1))


class _ShortDecoderLayer(_ShortForm):
    """Attention and a feed-forward network, each of normalized inputs and added to them."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the output."""
        if not args and kwargs.keys() <= _PLAIN_CALL and kwargs.get("attention_mask") is None:
            output = self._of_one_token(hidden_states, kwargs)
            if output is not None:
                return output
        return super().forward(hidden_states, *args, **kwargs)

    def _of_one_token(self, x: Tensor, given: dict[str, Any]) -> Tensor | None:
        """Compute the output for a token of each text; None where the module's own forward has to."""
        layers = self._modules
        parts = [layers[name] for name in _PARTS_OF_LAYER]
        if x.ndim != 3 or x.shape[1] != 1 or not all(map(_only_short, parts)) or not _alone(x):
            return None
        norm, attention, second_norm, network = cast(Any, parts)
        rotation, cache = given.get("position_embeddings"), given.get("cache")
        attended = attention.of_one_token(norm.forward(x), rotation, cache)
        if attended is None:
            return None
        x = x + attended
        return cast(Tensor, x + network.forward(second_norm.forward(x)))


def shorten_(model: nn.Module) -> None:
    """Give the modules of ``model`` short forms, in place, if it has packed layers that kernels compute."""
    if not any(isinstance(layer, PackedLayer) and layer.packed_forward for layer in model.modules()):
        return
    for module in model.modules():
        if _short_form_of(type(module)) is not None:  # type: ignore[arg-type]
            module.__class__ = _short_class(type(module))  # type: ignore[arg-type]


def _alone(x: Tensor) -> bool:
    """Tell whether only eager PyTorch has to see what is computed of ``x``, and no derivative is wanted."""
    return not torch.is_grad_enabled() and unobserved(x) and not _has_any_global_hook()


def _only_short(module: nn.Module) -> bool:
    """Tell whether calling a module runs a short form and nothing else."""
    return isinstance(module, _ShortForm) and "forward" not in module.__dict__ and not is_hooked(module)


def _output(layer: nn.Module, x: Tensor) -> Tensor:
    """Compute a layer's output, by its kernel alone where that is all that a call of the layer does."""
    call = direct_call(layer)
    output = None if call is None else call(x)
    return cast(Tensor, layer(x) if output is None else output)


_FORMS: dict[str, type[_ShortForm]] = {
    "MLP": _ShortFeedForward,
    "Attention": _ShortAttention,
    "RMSNorm": _ShortNorm,
    "DecoderLayer": _ShortDecoderLayer,
}


@cache
def _short_form_of(kind: Any) -> type[_ShortForm] | None:
    """Return the short form of a class of transformers; None where it has none."""
    for place, family in _FAMILIES.items():
        if kind.__module__ == f"transformers.models.{place}.modeling_{place}":
            return _FORMS.get(kind.__name__.removeprefix(family))
    return None


@cache
def _short_class(plain: Any) -> type[_ShortForm]:
    form = _short_form_of(plain)
    assert form is not None
    return type(
        plain.__name__, (form, plain), {"plain": plain, "__module__": __name__, "__doc__": plain.__doc__}
    )


def _blank(plain: type[nn.Module]) -> nn.Module:
    """Make a module without state, which unpickling fills."""
    kind = _short_class(plain)  # type: ignore[arg-type]
    return kind.__new__(kind)
