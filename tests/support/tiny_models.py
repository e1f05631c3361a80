"""Tiny models of transformers with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

WORDS = 64
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
IMAGES = {key: size for key, size in SIZES.items() if key != "vocab_size"}
T5_SIZES = {"vocab_size": WORDS, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "max_source_positions": 10,
    "num_mel_bins": 8,
}
DISTILBERT = {"vocab_size": WORDS, "dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2}
GPT2_SIZES = {"vocab_size": WORDS, "n_positions": 32, "n_embd": 32, "n_layer": 1, "n_head": 2}

CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": ("LlamaConfig", {**SIZES, **SPECIAL}),
    "Qwen2ForCausalLM": ("Qwen2Config", {**SIZES, **SPECIAL, "num_key_value_heads": 1}),
    "Qwen3ForCausalLM": ("Qwen3Config", {**SIZES, **SPECIAL, "num_key_value_heads": 1, "head_dim": 16}),
    "MistralForCausalLM": ("MistralConfig", {**SIZES, **SPECIAL, "num_key_value_heads": 1}),
    "PhiForCausalLM": ("PhiConfig", {**SIZES, **SPECIAL}),
    "GemmaForCausalLM": ("GemmaConfig", {**SIZES, **SPECIAL, "num_key_value_heads": 1, "head_dim": 16}),
    "GPT2LMHeadModel": ("GPT2Config", {**GPT2_SIZES, **SPECIAL}),
    "BertForMaskedLM": ("BertConfig", SIZES),
    "DistilBertForSequenceClassification": ("DistilBertConfig", DISTILBERT),
    "T5ForConditionalGeneration": ("T5Config", {**T5_SIZES, "decoder_start_token_id": 0}),
    "ViTForImageClassification": ("ViTConfig", {**IMAGES, "image_size": 16, "patch_size": 8}),
    "WhisperForAudioClassification": (
        "WhisperConfig",
        {**WHISPER, "max_source_positions": 10, "num_mel_bins": 8},
    ),
}


def tiny(name: str = "LlamaForCausalLM", **sizes: Any) -> Any:
    """Make the tiny model of a class in eval mode; ``sizes`` change its configuration."""
    torch.manual_seed(0)
    config, usual = CLASSES[name]
    made = getattr(transformers, config)(**{**usual, **sizes})
    return getattr(transformers, name)(made).eval()


def words(batch: int = 2, length: int = 5) -> Tensor:
    """Draw a batch of texts, without padding."""
    return torch.randint(3, WORDS, (batch, length), generator=torch.Generator().manual_seed(1))


def inputs(model: nn.Module) -> dict[str, Tensor]:
    """Draw inputs of a model."""
    name = type(model).__name__
    generator = torch.Generator().manual_seed(1)
    if name.startswith("ViT"):
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator)}
    if name.startswith("Whisper"):
        return {"input_features": torch.randn(2, 8, 20, generator=generator)}
    if name.startswith("T5"):
        return {"input_ids": words(), "decoder_input_ids": words()}
    return {"input_ids": words()}


def logits(model: Any) -> Tensor:
    """Compute the output of a model, without gradients."""
    with torch.inference_mode():
        found: Tensor = model(**inputs(model)).logits
    return found
