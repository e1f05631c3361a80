"""Tiny language models of transformers, binarized, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import proxconnect as pc

VOCABULARY = 320
KINDS: dict[str, Any] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def tiny(kind: str = "llama", seed: int = 0, **changes: Any) -> Any:
    """Make a float model with random norms and biases, in eval mode."""
    config, model = KINDS[kind]
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "intermediate_size": 256,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 128,
        "initializer_range": 0.08,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = model(config(**sizes | changes)).eval()
        for name, parameter in made.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                nn.init.normal_(parameter, 1 if name.endswith("weight") else 0, 0.2)
    return made


def binary(model: Any, everything: bool = False, **config: Any) -> Any:
    """Binarize with one scale for 128 inputs; ``everything`` takes the embedding and the head too."""
    chosen = (lambda module, name: isinstance(module, nn.Linear | nn.Embedding)) if everything else None
    return pc.binarize_(model, pc.BinarizeConfig(**{"method": "bc", "scale": 128} | config), filter_fn=chosen)


def save_tokenizer(
    folder: Path, text: str = "the cat sat on the mat, and that was that. "
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer and save it in ``folder``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text * 20], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return fast
