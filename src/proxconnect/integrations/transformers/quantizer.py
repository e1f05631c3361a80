"""The quantizer that transformers asks, when it loads and saves 1-bit models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer

from proxconnect.base.hosts import tell_hosts
from proxconnect.engine import PackedLayer
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.integrations.transformers._folder import check_folder
from proxconnect.integrations.transformers._latents import EmptyLatents
from proxconnect.integrations.transformers._packed_layers import EmptyPackedLayers
from proxconnect.integrations.transformers._records import latents_to_json, packed_to_json
from proxconnect.integrations.transformers._saved_state import SavedState, saved_state
from proxconnect.integrations.transformers._short_forms import shorten_
from proxconnect.integrations.transformers.config import QUANT_METHOD, ProxConnectConfig
from proxconnect.layers import binarize_, default_layers
from proxconnect.packing._store import LEVELS


class ProxConnectQuantizer(HfQuantizer):
    """Binarizes models that ``from_pretrained`` loads, and lets ``save_pretrained`` write and read them.

    transformers makes it for every model whose ``quantization_config`` is a :class:`ProxConnectConfig`.
    """

    quantization_config: ProxConnectConfig

    def __init__(self, quantization_config: ProxConnectConfig, **options: Any) -> None:
        super().__init__(quantization_config, **options)
        if self.pre_quantized and not quantization_config.is_saved:
            raise ProxConnectError(
                "the quantization_config of this folder names no weights, so they are not binarized yet: "
                "remove it from config.json, and pass a ProxConnectConfig to from_pretrained"
            )
        self._empty: tuple[EmptyPackedLayers, EmptyLatents] | None = None

    def _process_model_before_weight_loading(self, model: Any, **given: Any) -> None:
        """Give the layers of a saved model the places of what is stored, and check that it is there."""
        config = self.quantization_config
        if not self.pre_quantized:
            return
        saved_from = tuple(model.config.architectures or ())
        with _naming(model):
            packed = EmptyPackedLayers(model, config.packed, config.shared, saved_from)
            self._empty = packed, EmptyLatents(model, config.latents, config.shared, saved_from)
            if given.get("checkpoint_files"):
                check_folder(model, given["checkpoint_files"], saved_from)

    def _process_model_after_weight_loading(self, model: Any, **given: Any) -> None:
        """Binarize a float model, or make a saved model what it was."""
        if self._empty is None:
            _binarize_float_model(model, self.quantization_config)
            return
        (packed, latents), self._empty = self._empty, None
        with _naming(model):
            packed.fill_(model, model.config.dtype, self.quantization_config.packed_activations)
            if self.quantization_config.latents:
                latents.binarize_(model)
        tell_hosts(model)  # of the models inside

    def update_weight_conversions(self, weight_conversions: Any, model: Any) -> Any:
        """Leave the tensors of a saved model as they are: they have the model's own names."""
        if self.pre_quantized:
            return []
        return super().update_weight_conversions(weight_conversions, model)

    def get_state_dict_and_metadata(self, model: Any) -> tuple[dict[str, Tensor] | None, dict[str, str]]:
        """Return the tensors that ``save_pretrained`` writes, and have the configuration describe them."""
        if getattr(model, "_hf_peft_config_loaded", False):
            return None, {}  # transformers saves the adapters alone
        saved = saved_state(model)
        if not saved.latents and not saved.packed:  # nothing is binarized any more
            model.config.__dict__.pop("quantization_config", None)
            return None, {}
        model.config.quantization_config = self.quantization_config = _description(
            model, saved, self.quantization_config
        )
        model._weight_conversions = []  # those of a float model would not fit bits
        return saved.tensors, {}

    def is_serializable(self) -> bool:
        """Tell that models can be saved."""
        return True

    @property
    def is_trainable(self) -> bool:
        """True: latents train, and gradients pass through packed layers."""
        return True

    @property
    def is_qat_trainable(self) -> bool:
        """True for a model that has latents, and so trains without adapters."""
        return bool(self.quantization_config.latents) or not self.quantization_config.packed

    @property
    def is_compileable(self) -> bool:
        """True: ``torch.compile`` sees the kernels as operators."""
        return True


@contextmanager
def _naming(model: Any) -> Iterator[None]:
    """Have each refusal in this context name the folder that the model is loaded from."""
    try:
        yield
    except FormatError as error:
        folder = model.config.name_or_path
        raise FormatError(f"{folder}: {error}" if folder else str(error)) from None


def _binarize_float_model(model: Any, config: ProxConnectConfig) -> None:
    chosen = set(default_layers(model))
    if config.embeddings:
        ends = (model.get_input_embeddings(), model.get_output_embeddings())
        chosen |= {name for name, module in model.named_modules() if any(module is end for end in ends)}
    chosen -= _left_out(model, config.modules_to_not_convert or ())
    training = model.training
    binarize_(model, config.binarize_config, lambda module, name: name in chosen)
    model.train(training)


def _left_out(model: nn.Module, patterns: Sequence[str]) -> set[str]:
    """Find the modules that patterns name, and those inside."""
    found: set[str] = set()
    for pattern in patterns:
        try:
            fits = re.compile(rf"(?:.*\.)?(?:{pattern})(?:\..*)?").fullmatch
        except re.error as error:
            raise ProxConnectError(
                f"modules_to_not_convert: {pattern!r} is not a regular expression: {error}"
            ) from None
        named = {name for name, _ in model.named_modules() if fits(name)}
        if not named:
            raise ProxConnectError(
                f"modules_to_not_convert: {pattern!r} names no module of {type(model).__name__}"
            )
        found |= named
    return found


def _description(model: nn.Module, saved: SavedState, config: ProxConnectConfig) -> ProxConnectConfig:
    """Make the configuration of a saved model; for layers that it names, the other fields are for readers."""
    kernels = {layer.activations for layer in model.modules() if isinstance(layer, PackedLayer)}
    activations = config.activations if config.packed_activations or not kernels else kernels.pop()
    packed, latents = list(saved.packed.values()), list(saved.latents.values())
    method = latents[0].pair.name if latents else packed[0].method
    levels = latents[0].levels if latents else LEVELS[packed[0].form.bits]
    return ProxConnectConfig(
        method=method,
        group=latents[0].group if latents else packed[0].form.group,
        levels=levels,
        activations=activations,
        modules_to_not_convert=config.modules_to_not_convert,
        embeddings=config.embeddings,
        latents=latents_to_json(saved.latents),
        packed=packed_to_json(saved.packed),
        shared=saved.shared,
    )


def adopt_(model: Any) -> None:
    """Have ``save_pretrained`` of a model, which is binarized, call a :class:`ProxConnectQuantizer`.

    Models that ``from_pretrained`` has binarized have one already. The modules around packed layers become
    what computes the same in fewer operations.
    """
    if getattr(model, "hf_quantizer", None) is None:
        model.hf_quantizer = ProxConnectQuantizer(ProxConnectConfig(), pre_quantized=False)
    shorten_(model)


register_quantization_config(QUANT_METHOD)(ProxConnectConfig)
register_quantizer(QUANT_METHOD)(ProxConnectQuantizer)
