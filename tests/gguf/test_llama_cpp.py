"""llama.cpp, where it is installed, answers to files of ours as we do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_models import VOCABULARY, binary, save_tokenizer, tiny
from torch.nn import functional

import proxconnect as pc

llama_cpp = pytest.importorskip(
    "llama_cpp",
    reason="llama-cpp-python is built from source, which takes long; see benchmarks/gguf_agreement.py",
)

YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
TERNARY = {"levels": (-1, 0, 1), "scale": 256, "everything": True}


def of_llama_cpp(path: Path, tokens: torch.Tensor) -> torch.Tensor:
    model = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, n_threads=1, verbose=False)
    rows = []
    for row in tokens.tolist():
        model.reset()
        model.eval(row)
        rows.append(np.array(model.scores[: len(row)], np.float32))
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize(
    ("kind", "changes", "config"),
    [
        ("llama", {"num_hidden_layers": 2}, {"everything": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True}, {"everything": True}),
        ("llama", {"tie_word_embeddings": True}, TERNARY),
        ("llama", {"rope_parameters": LLAMA3, "max_position_embeddings": 16384}, {}),
        ("mistral", {}, {"everything": True}),
        ("qwen2", {"num_hidden_layers": 2}, {"everything": True}),
        ("qwen2", {"tie_word_embeddings": True}, TERNARY),
        ("qwen3", {"tie_word_embeddings": True}, {"everything": True}),
        ("qwen3", {"rope_parameters": YARN}, {}),
    ],
)
def test_answers_agree(kind: str, changes: dict[str, Any], config: dict[str, Any], tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    model = binary(tiny(kind, **changes), **config)
    path = pc.export.gguf(model, tmp_path / "model.gguf", tokenizer=tmp_path)
    tokens = torch.randint(VOCABULARY, (2, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = pc.from_gguf(path)(tokens).logits.double().log_softmax(-1)
    theirs = of_llama_cpp(path, tokens).double().log_softmax(-1)
    assert functional.kl_div(theirs, ours, log_target=True, reduction="sum") / tokens.numel() < 1e-3
    assert (ours.argmax(-1) == theirs.argmax(-1)).double().mean() > 0.9  # of random weights


@pytest.mark.parametrize("text", ["the cat sat on the mat", "a\n\n  b 123 'll \N{SNOWMAN}", "x</s>"])
def test_texts_are_cut_alike(text: str, tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    path = pc.export.gguf(binary(tiny()), tmp_path / "model.gguf", tokenizer=tmp_path)
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    assert model.tokenize(text.encode(), add_bos=False, special=True) == tokenizer.encode(text)
