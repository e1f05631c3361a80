"""Compare the answers of llama.cpp on a GGUF file of ours with our own, on models that are trained for it.

    python benchmarks/gguf_agreement.py

Trains small models on the sources of Python's standard library, as byte-level BPE tokens: a Llama and a Qwen3
with 1-bit weights everywhere but in norms, and a Llama with ternary weights. Each is exported, loaded by
llama.cpp, and by :func:`pc.from_gguf`. The next tokens of 512 positions of held-out text are compared with
those of llama.cpp: the Kullback-Leibler divergence of the distributions (ours from llama.cpp's, in nats), and
whether the most likely token is the same. llama.cpp rounds activations to 8 bits, so our ``w1a8`` is compared
too, and both with the hardened model in float32.

The script needs ``pip install "proxconnect[gguf]" llama-cpp-python`` (0.3.36 or newer, whose llama.cpp knows
``Q1_0``). It writes ``docs/results/data/gguf_agreement.json`` and ``docs/results/gguf_agreement.md``.
"""

from __future__ import annotations

import argparse
import math
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import write_results
from _rounds import machine
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.engine import active_kernels

PRECISIONS = {"packed, float32": None, "packed, 8 bits": "int8"}
VOCABULARY, WINDOW, WINDOWS, BATCH = 512, 128, 4, 8
MOST_DIVERGENCE, LEAST_SAME = 1e-3, 0.98
MODELS = {
    "Llama, 1-bit": (LlamaConfig, LlamaForCausalLM, (-1, 1), 128),
    "Qwen3, 1-bit": (Qwen3Config, Qwen3ForCausalLM, (-1, 1), 128),
    "Llama, ternary": (LlamaConfig, LlamaForCausalLM, (-1, 0, 1), 256),
}
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
}


def sources(letters: int) -> str:
    """Return the first letters of the standard library's sources, by the names of their files."""
    text, files = "", sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for file in files:
        text += file.read_text(encoding="utf-8")
        if len(text) >= letters:
            break
    return text[:letters]


def trained_tokenizer(text: str, folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.save_pretrained(folder)
    return fast


def batches(tokens: Tensor, steps: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        starts = torch.randint(len(tokens) - WINDOW - 1, (BATCH,), generator=generator)
        yield torch.stack([tokens[start : start + WINDOW + 1] for start in starts])


def trained(name: str, tokens: Tensor, steps: int, seed: int) -> Any:
    config, kind, levels, group = MODELS[name]
    torch.manual_seed(seed)
    binary = pc.BinarizeConfig("bnn++" if len(levels) == 2 else "pc", levels=levels, scale=group)
    chosen = (torch.nn.Linear, torch.nn.Embedding)
    model = pc.binarize_(kind(config(**SIZES)), binary, lambda module, name: isinstance(module, chosen))
    optimizer = torch.optim.AdamW(pc.param_groups(model, latent_lr=1e-2))
    with pc.training(model, optimizer, steps=steps):
        for batch in batches(tokens, steps, seed):
            logits = model(batch[:, :-1]).logits
            loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return pc.harden_(model).eval()


def of_llama_cpp(path: Path, windows: Tensor) -> Tensor:
    """Return llama.cpp's logits, one context for each window."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, n_threads=1, verbose=False)
    found = []
    for window in windows.tolist():
        model.reset()
        model.eval(window)
        found.append(np.array(model.scores[: len(window)], np.float32))
    return torch.from_numpy(np.stack(found))


def same_tokens(path: Path, tokenizer: PreTrainedTokenizerFast, text: str) -> bool:
    """Tell whether llama.cpp and the tokenizer of the folder cut a text into the same tokens."""
    from llama_cpp import Llama

    model = Llama(str(path), vocab_only=True, verbose=False)
    return bool(model.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text))


def agreement(ours: Tensor, others: Tensor) -> dict[str, float]:
    """Return mean and largest divergence of the next token, and the share of the same most likely one."""
    left, right = (functional.log_softmax(logits.double().flatten(0, 1), -1) for logits in (ours, others))
    divergence = (left.exp() * (left - right)).sum(-1)
    same = (left.argmax(-1) == right.argmax(-1)).double().mean()
    return {"divergence": divergence.mean().item(), "largest": divergence.max().item(), "same": same.item()}


def measured(name: str, steps: int, seed: int, letters: int) -> dict[str, Any]:
    text = sources(letters)
    cut = int(len(text) * 0.95)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        folder = Path(place)
        tokenizer = trained_tokenizer(text[:cut], folder)
        tokens = torch.tensor(tokenizer.encode(text[:cut]))
        held_out = torch.tensor(tokenizer.encode(text[cut:]))
        windows = held_out[: WINDOW * WINDOWS].view(WINDOWS, WINDOW)
        with torch.enable_grad():
            model = trained(name, tokens, steps, seed)
        path = pc.export.gguf(model, folder / "model.gguf", tokenizer=folder)
        other = of_llama_cpp(path, windows)
        hard = model(windows).logits
        packed = {
            kind: pc.from_gguf(path, activations=activations)(windows).logits
            for kind, activations in PRECISIONS.items()
        }
        loss = functional.cross_entropy(hard[:, :-1].flatten(0, 1), windows[:, 1:].flatten()).item()
        return {
            "bytes": path.stat().st_size,
            "weights": sum(parameter.numel() for parameter in model.parameters()),
            "loss": loss,
            "same_tokens": same_tokens(path, tokenizer, text[cut : cut + 20_000]),
            "with_llama_cpp": {"hardened": agreement(hard, other)}
            | {kind: agreement(logits, other) for kind, logits in packed.items()},
            "with_hardened": {kind: agreement(hard, logits) for kind, logits in packed.items()},
        }


def page(result: dict[str, Any]) -> str:
    columns = ("model", "ours", "divergence, nats", "largest", "same next token")
    agreements = {
        what: Table(
            columns,
            [
                (name, kind, f"{a['divergence']:.1e}", f"{a['largest']:.1e}", f"{100 * a['same']:.1f} %")
                for name, model in result["models"].items()
                for kind, a in model[what].items()
            ],
        ).markdown()
        for what in ("with_llama_cpp", "with_hardened")
    }
    sizes = "\n".join(
        f"- {name}: {model['weights']:,} weights, {model['bytes']:,} bytes, {model['loss']:.2f} nats a token"
        for name, model in result["models"].items()
    )
    tokens = "the same" if all(model["same_tokens"] for model in result["models"].values()) else "other"
    return f"""# Answers of llama.cpp and ours

`pc.export.gguf` writes small models that were trained on the sources of Python's standard library:
{result["steps"]} steps of {BATCH} windows of {WINDOW} tokens, {result["letters"]:,} letters,
seed {result["seed"]}. llama.cpp (llama-cpp-python {result["llama_cpp"]}) loads the file, and so does
`pc.from_gguf`. The table compares the next tokens of {result["positions"]} positions of held-out text, in
windows of {WINDOW}: the mean divergence of llama.cpp's distribution from ours, the largest of a position,
and how often the most likely token is the same.
"Hardened" is the model before the export, in float32.

{agreements["with_llama_cpp"]}

llama.cpp rounds activations to 8 bits, with a scale for 32 or 256 of them. Our 8 bits
(`activations="int8"`) have one scale for a row. The packed models beside the hardened one:

{agreements["with_hardened"]}

The models:

{sizes}

To guess all tokens alike takes {math.log(VOCABULARY):.2f} nats a token, so these models know little;
a model that knows more is surer of its next tokens, and may differ more.

llama.cpp cuts 20,000 letters of held-out text into {tokens} tokens as the tokenizer of the folder.

Machine: {result["machine"]}, kernel set {result["kernels"]}; torch {result["torch"]}, transformers
{result["transformers"]}. `python benchmarks/gguf_agreement.py` makes this page.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    arguments = parser.parse_args()
    found = {name: measured(name, arguments.steps, arguments.seed, arguments.letters) for name in MODELS}
    result = {
        "steps": arguments.steps,
        "letters": arguments.letters,
        "seed": arguments.seed,
        "positions": WINDOW * WINDOWS,
        "machine": machine(),
        "kernels": active_kernels(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "llama_cpp": version("llama_cpp_python"),
        "models": found,
    }
    print(page(result))
    if not arguments.dry:
        write_results("gguf_agreement", result, page)
    for name, model in found.items():
        for kind, figures in model["with_llama_cpp"].items():
            if figures["divergence"] > MOST_DIVERGENCE or figures["same"] < LEAST_SAME:
                print(f"{name}, {kind}: beyond {MOST_DIVERGENCE} nats or below {LEAST_SAME:.0%}")


if __name__ == "__main__":
    main()
