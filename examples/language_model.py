"""Train a small Llama with 1-bit weights on the sources of Python's standard library, and let it write.

    python examples/language_model.py                                      # bnn++, from scratch
    python examples/language_model.py --method fp --out lm_fp              # full precision
    python examples/language_model.py --start lm_fp --out lm_one_bit       # fine-tuned from it
    python examples/language_model.py --method pc --ternary --out lm_ternary

Bytes are the tokens, and all matrices have few levels, the embedding and the head included: one float16 scale
for 128 inputs of an output, or for 256 with ternary weights, as the files of llama.cpp have it. The folder
``--out`` gets the packed model, its tokenizer and ``model.gguf``. The extra ``gguf`` brings what it needs.
"""

from __future__ import annotations

import argparse
import math
import sysconfig
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import proxconnect as pc
from proxconnect.optim import Schedule, default_schedule

END = "<end>"
HELD_OUT = 20  # of so many files, one is not trained on
LR, LATENT_LR = 2e-3, 3e-3
SHARPEST = 10.0
WHOLE_GRADIENT = ("bc", "pc", "parq", "binary-relax")  # the methods that pass it on to every latent


def texts(folder: Path | None = None) -> tuple[bytes, bytes]:
    """Read the modules of the standard library: those to train on, and every twentieth to validate on."""
    files = sorted((folder or Path(sysconfig.get_path("stdlib"))).glob("*.py"))
    held_out = files[HELD_OUT // 2 :: HELD_OUT]
    parts = [[file for file in files if file not in held_out], held_out]
    train, validation = (b"\n".join(file.read_bytes() for file in part) for part in parts)
    return train, validation


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer whose tokens are the 256 bytes and an end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def tokens_of(tokenizer: PreTrainedTokenizerFast, text: bytes) -> Tensor:
    """Return the tokens of a text of bytes."""
    return torch.tensor(tokenizer(text.decode("utf-8", "replace")).input_ids)


def llama(layers: int, width: int) -> LlamaForCausalLM:
    """Make the model, in full precision."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=257,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            max_position_embeddings=512,
            bos_token_id=256,
            eos_token_id=256,
        )
    )


def binarize(model: nn.Module, method: str, ternary: bool) -> nn.Module:
    """Binarize all matrices of the model, in place."""
    levels, group = ((-1, 0, 1), 256) if ternary else ((-1, 1), 128)
    config = pc.BinarizeConfig(method, levels=levels, scale=group)
    return pc.binarize_(model, config, lambda module, name: isinstance(module, nn.Linear | nn.Embedding))


def schedule_of(method: str) -> Schedule:
    """Return the schedule of ``mu``: a method that stops gradients as ``mu`` grows stops at 10.

    At the usual end, 300, so few latents get a gradient that the model forgets what it has learnt.
    """
    chosen = default_schedule(method)
    if method in WHOLE_GRADIENT or chosen.end is None:
        return chosen
    return chosen._replace(end=min(chosen.end, SHARPEST))


def train(
    model: nn.Module, tokens: Tensor, steps: int, batch: int, length: int, seed: int, method: str
) -> float:
    """Train the model on windows of the text, and return the seconds; the method ``fp`` is full precision."""
    generator = torch.Generator().manual_seed(seed)

    def loop(optimizer: torch.optim.Optimizer, curve: Any = None) -> None:
        for step in range(1, steps + 1):
            starts = torch.randint(len(tokens) - length, (batch,), generator=generator)
            windows = torch.stack([tokens[start : start + length] for start in starts])
            loss = model(input_ids=windows, labels=windows).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if curve is not None:
                curve.step()
            if step % 50 == 0 or step == steps:
                print(f"step {step}: {loss.item() / math.log(2):.2f} bits a byte", flush=True)

    start = time.perf_counter()
    model.train()
    if method == "fp":
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        loop(optimizer, OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.05))
    else:
        optimizer = torch.optim.AdamW(pc.param_groups(model, lr=LR, latent_lr=LATENT_LR))
        with pc.training(model, optimizer, steps=steps, schedule=schedule_of(method)):
            loop(optimizer)
    model.eval()
    return time.perf_counter() - start


@torch.inference_mode()
def bits_per_byte(model: nn.Module, tokens: Tensor, length: int, windows: int = 64) -> float:
    """Compute the mean loss on windows spread over held-out text, in bits for each byte."""
    starts = torch.linspace(0, len(tokens) - length, windows).long()
    losses = [
        model(input_ids=window, labels=window).loss
        for window in torch.stack([tokens[start : start + length] for start in starts]).split(16)
    ]
    return torch.stack(losses).mean().item() / math.log(2)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, harden, pack, save and export; return the bits per byte of each form on held-out text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", default="bnn++", help="a method for the weights, or fp")
    parser.add_argument("--ternary", action="store_true", help="levels -1, 0 and 1")
    parser.add_argument("--start", type=Path, help="folder of a full-precision model to start from")
    parser.add_argument("--out", type=Path, default=Path("lm_out"))
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256, help="a multiple of 128, or of 256 with --ternary")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt", default="def read(path):\n")
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(options.out)
    text, held_out = (tokens_of(tokenizer, part) for part in texts())
    model = llama(options.layers, options.width)
    if options.start is not None:
        model = AutoModelForCausalLM.from_pretrained(options.start)
    if options.method != "fp":
        binarize(model, options.method, options.ternary)
    seconds = train(model, text, options.steps, options.batch, options.length, options.seed, options.method)
    found = {"trained": bits_per_byte(model, held_out, options.length)}
    if options.method != "fp":
        pc.harden_(model)
        found["hardened"] = bits_per_byte(model, held_out, options.length)
        pc.export.gguf(model, options.out / "model.gguf", tokenizer=options.out)
        model = pc.pack_(model, activations="int8")
        found["packed, 8-bit activations"] = bits_per_byte(model, held_out, options.length)
    model.save_pretrained(options.out)
    print(f"{options.steps} steps in {seconds:.0f} s; bits a byte of held-out text:")
    print(*(f"  {name}: {value:.3f}" for name, value in found.items()), sep="\n")
    prompt = tokenizer(options.prompt, return_tensors="pt").input_ids
    answer = model.generate(prompt, max_new_tokens=120, do_sample=True, temperature=0.7, pad_token_id=256)
    print("-" * 40, tokenizer.decode(answer[0]), "-" * 40, sep="\n")
    return found


if __name__ == "__main__":
    main()
