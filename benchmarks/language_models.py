"""Time a packed language model in transformers beside llama.cpp, and beside transformers with float weights.

    python benchmarks/language_models.py [--layers 12] [--ternary] [--threads 1] [--floats] [--dry]

The model is a Llama of random weights: 2048 hidden, 6144 feed-forward, 16 and 8 heads, 32,000 tokens, all
matrices 1-bit with a float16 scale for 128 inputs (``Q1_0``), or ternary with a scale for 256 (``TQ2_0``).
Both engines read the same file. Each round reads a prompt of 128 tokens and one of 512 and then generates
tokens, by every engine in turn; ratios are taken round by round. Ours is the model class of transformers and
its own ``generate``, with 8-bit activations, as llama.cpp has them.

The products of a token are also called alone, one after the other. Their bandwidth is the bytes of bits and
scales over this time, as a share of what ``torch.sum`` reads. The rest of a token is torch and transformers.

The script needs ``pip install "proxconnect[gguf]" llama-cpp-python``. It adds a run to
``docs/results/data/language_models.json``, in place of one with the same processor, layers, weights and
threads, and writes ``docs/results/language_models.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from _results import add_run
from _rounds import Interval, machine, median_interval, ratio, rounds
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.engine import PackedLayer, active_kernels
from proxconnect.format import BinaryTensor
from proxconnect.integrations.transformers.packed_model import packed_model

NAME = "language_models"
PROMPTS, NEW = (128, 512), 32
OURS, PEER = "packed, 8-bit activations", "llama.cpp"
FLOATS = {"transformers, float32": torch.float32, "transformers, bfloat16": torch.bfloat16}
SIZES: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
}
# What the project wants to reach, as ratios to llama.cpp.
GOALS = {1: {"generation": 2.2, "prompt 128": 4.0, "prompt 512": 4.0}, 2: {"generation": 1.5}}

Engine = dict[str, Callable[[], float]]


def random_model(layers: int, bits: int) -> Any:
    """Make the packed model of random weights; its floats never exist."""
    config = LlamaConfig(num_hidden_layers=layers, **SIZES)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(0)
    tensors: dict[str, Tensor] = {}
    binary = {}
    group = {1: 128, 2: 256}[bits]
    for name, shape in shapes.items():
        if len(shape) == 1:
            tensors[name] = torch.ones(shape)
            continue
        form = binary[name] = BinaryTensor(tuple(shape), bits, group)
        planes = torch.randint(256, form.bits_shape, dtype=torch.uint8)
        if bits == 2:
            planes[1] &= planes[0]  # a zero has no sign
        tensors[name] = planes
        tensors[f"{name}_scale"] = torch.full((shape[0], shape[1] // group), 0.02, dtype=torch.float16)
    return packed_model(LlamaForCausalLM, config, tensors, binary, method="bc")


def in_transformers(model: Any) -> Engine:
    """Return what is timed of a model of transformers: the seconds of each."""
    from proxconnect.timing import TokenClock

    def prompt(tokens: Tensor) -> float:
        start = time.perf_counter()
        with torch.no_grad():
            model(tokens, use_cache=True, logits_to_keep=1)
        return time.perf_counter() - start

    def generation() -> float:
        clock = TokenClock()
        tokens = some_tokens(16)
        options = {"min_new_tokens": NEW, "max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
        model.generate(tokens, attention_mask=torch.ones_like(tokens), streamer=clock, **options)
        assert clock.generation_speed is not None
        return 1 / clock.generation_speed

    return {f"prompt {n}": partial(prompt, some_tokens(n)) for n in PROMPTS} | {"generation": generation}


def in_llama_cpp(path: Path, threads: int) -> Engine:
    """Return what is timed of llama.cpp: the seconds of each."""
    from llama_cpp import Llama

    longest = max(PROMPTS)
    model = Llama(
        str(path), n_ctx=1024, n_batch=longest, n_ubatch=longest, n_threads=threads,
        n_threads_batch=threads, verbose=False,
    )  # fmt: skip

    def prompt(tokens: list[int]) -> float:
        model.reset()
        start = time.perf_counter()
        model.eval(tokens)
        return time.perf_counter() - start

    def generation() -> float:
        model.reset()
        *first, last = some_tokens(17)[0].tolist()
        model.eval(first)
        start = time.perf_counter()
        for _ in range(NEW):
            model.eval([last])
        return (time.perf_counter() - start) / NEW

    prompts = {f"prompt {n}": partial(prompt, some_tokens(n)[0].tolist()) for n in PROMPTS}
    return prompts | {"generation": generation}


def some_tokens(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(SIZES["vocab_size"], (1, count), generator=generator)


def one_row_products(model: Any) -> tuple[Callable[[], None], int]:
    """Return a call of all products of the model with one row, and the bytes that they read."""
    layers = [
        layer for layer in model.modules() if isinstance(layer, PackedLayer) and hasattr(layer, "in_features")
    ]
    rows = {layer.in_features: torch.randn(1, layer.in_features) for layer in layers}
    size = sum(tensor.nbytes for layer in layers for tensor in layer.buffers())

    def call() -> None:
        with torch.no_grad():
            for layer in layers:
                layer(rows[layer.in_features])

    return call, size


def bandwidth(model: Any, count: int) -> dict[str, Any]:
    """Compare the products of one token with how fast this machine reads."""
    products, size = one_row_products(model)
    read = torch.ones(64 * 2**20)
    times = rounds({"products": products, "read": read.sum}, count)
    seconds = median_interval(times["products"])
    read_rate = [read.nbytes / time for time in times["read"]]
    rate = [size / time for time in times["products"]]
    return {
        "milliseconds": [1e3 * each for each in seconds],
        "bytes": size,
        "share": ratio(rate, read_rate),
        "read_rate": median_interval(read_rate),
    }


LOAD = """
import psutil, sys, time, torch, transformers, proxconnect as pc
import proxconnect.gguf, transformers.models.llama.modeling_llama
memory = lambda: psutil.Process().memory_info().rss
def load():
    start = time.perf_counter()
    model = pc.from_gguf(sys.argv[1], activations="int8")
    return time.perf_counter() - start, model
before = memory()
seconds, model = load()
with torch.no_grad():
    model(torch.ones((1, 16), dtype=torch.long), use_cache=True, logits_to_keep=1)
after = memory()
del model
print(seconds, after - before, load()[0])
"""


def loading(path: Path) -> dict[str, float]:
    """Measure the seconds of loading the file, for the first time in a process and again, and the memory."""
    command = [sys.executable, "-c", LOAD, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory, again = map(float, done.stdout.split())
    return {"seconds": seconds, "again": again, "memory": memory, "file": path.stat().st_size}


def measured(layers: int, bits: int, threads: int, count: int, floats: bool) -> dict[str, Any]:
    """Measure one model."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        path = pc.export.gguf(random_model(layers, bits), Path(folder) / "model.gguf")
        loaded = loading(path)
        model = pc.from_gguf(path, activations="int8")
        engines = {OURS: in_transformers(model), PEER: in_llama_cpp(path, threads)}
        if floats:
            config = LlamaConfig(num_hidden_layers=layers, **SIZES)
            for name, dtype in FLOATS.items():
                engines[name] = in_transformers(LlamaForCausalLM(config).to(dtype).eval())
        times: dict[str, dict[str, list[float]]] = {}
        for round_ in range(-1, count):
            for name, engine in engines.items():
                for what, timed in engine.items():
                    seconds = timed()
                    if round_ >= 0:
                        times.setdefault(what, {}).setdefault(name, []).append(seconds)
        streamed = bandwidth(model, count)
    tokens = {"generation": 1} | {f"prompt {n}": n for n in PROMPTS}
    figures = {
        what: {
            name: {
                "speed": median_interval([tokens[what] / each for each in seconds]),
                "ours": ratio(seconds, of_engines[OURS]),
            }
            for name, seconds in of_engines.items()
        }
        for what, of_engines in times.items()
    }
    return {
        "layers": layers,
        "bits": bits,
        "threads": threads,
        "rounds": count,
        "weights": weights_of(layers),
        "figures": figures,
        "products": streamed,
        "load": loaded,
        "kernels": active_kernels(),
        "origin": machine(),
        "llama_cpp": version("llama_cpp_python"),
        "transformers": version("transformers"),
    }


def weights_of(layers: int) -> int:
    """Count the weights of the model."""
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **SIZES))
    return sum(parameter.numel() for parameter in model.parameters())


def page(report: dict[str, Any]) -> str:
    """Write the page of the results."""
    lines = ["# Language models", "", *_PROTOCOL.splitlines(), ""]
    for run in report["runs"]:
        kind = {1: "1-bit weights (`Q1_0`)", 2: "ternary weights (`TQ2_0`)"}[run["bits"]]
        threads = f"{run['threads']} thread{'s' * (run['threads'] > 1)}"
        lines += [
            f"## {kind}, {run['layers']} layers, {threads}, {run['origin'].partition(',')[0]}",
            "",
            f"{run['weights'] / 1e9:.2f} G weights, {run['rounds']} rounds. {run['origin']}, kernel set "
            f"`{run['kernels']}`, llama-cpp-python {run['llama_cpp']}, transformers {run['transformers']}.",
            "",
            table(run),
            "",
            *facts(run),
            "",
        ]
    return "\n".join(lines)


_PROTOCOL = f"""\
The model is a Llama of random weights, 2048 hidden and 6144 feed-forward, whose matrices all have few levels:
with a float16 scale for 128 inputs, as llama.cpp's `Q1_0` has it, or ternary with one for 256, as `TQ2_0`.
Ours is `pc.from_gguf(path, activations="int8")`: the model class of transformers with packed layers, and its
own `generate`. llama.cpp reads the same file in the same process, and rounds activations to 8 bits too. Every
round reads both prompts and generates {NEW} tokens after a prompt of 16, by each engine in turn. Speeds are
medians with 95 % intervals; *ours is faster* is the ratio of the times, round by round.

`python benchmarks/{NAME}.py` adds a run to `data/{NAME}.json` and makes this page from it."""


def table(run: dict[str, Any]) -> str:
    """Write the speeds of one run."""
    columns = ("", "engine", "tokens/s", "ours is faster", "goal")
    rows = []
    for what, engines in run["figures"].items():
        for name, row in engines.items():
            goal = GOALS[run["bits"]].get(what) if name == PEER else None
            beside = "" if name == OURS else _interval(row["ours"], 2)
            wanted = "" if goal is None else f"{goal:.1f}: {'met' if row['ours'][1] >= goal else 'not met'}"
            rows.append((what, name, _interval(row["speed"], 1), beside, wanted))
    return Table(columns, rows, numbers=columns[2:4]).markdown()


def facts(run: dict[str, Any]) -> list[str]:
    """Write what else was measured, in sentences."""
    products, load = run["products"], run["load"]
    token = 1e3 / run["figures"]["generation"][OURS]["speed"][0]
    rest = token - products["milliseconds"][0]
    share, low, high = (100 * each for each in products["share"])
    again = ""
    if "again" in load:  # older runs have it not
        per_100 = load["again"] / load["file"] * 1e8
        again = f" Loading it again in the process takes {load['again']:.2f} s, {per_100:.2f} s for 100 MB."
    return [
        f"- The products of a token alone take {products['milliseconds'][0]:.1f} ms of {token:.1f} and read "
        f"{products['bytes'] / 2**20:.0f} MiB: {share:.0f} % ({low:.0f} to {high:.0f}) of the rate at which "
        f"`torch.sum` reads, {products['read_rate'][0] / 1e9:.1f} GB/s. The rest takes {rest:.1f} ms.",
        f"- Loading the file of {load['file'] / 2**20:.0f} MiB takes {load['seconds']:.2f} s, "
        f"{load['seconds'] / load['file'] * 1e8:.2f} s for 100 MB.{again} Loaded and run, the process has "
        f"{load['memory'] / 2**20:.0f} MiB of memory more than with torch and transformers alone.",
    ]


def _interval(values: Interval, digits: int) -> str:
    median, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{median} ({low} to {high})"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--ternary", action="store_true", help="ternary weights instead of 1-bit ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--floats", action="store_true", help="beside float32 and bfloat16 of transformers")
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    options = parser.parse_args()
    bits = 2 if options.ternary else 1
    run = measured(options.layers, bits, options.threads, options.rounds, options.floats)
    print(table(run), *facts(run), sep="\n")
    if options.dry:
        return
    add_run(NAME, run, lambda run: [run[key] for key in ("origin", "layers", "bits", "threads")], page)


if __name__ == "__main__":
    main()
