"""Files whose graph somebody changed: each is refused, or both kinds of kernels answer alike.

    python tests/engine/hostile_graphs.py [--count 1000] [--seed 0] [--only CASE]

Changes the graphs of small packed networks at random, with a right hash, and loads and calls them. Prints
each case that ends in anything but a `ProxConnectError` or the same answer, and exits with 1 if there is one.
A process that dies leaves the number of its case as the last line: `--only` repeats it.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import proxconnect as pc
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import InputSpec, PackedFile, compressed_graph, encode, read
from proxconnect.graph import OPERATORS

MAX_BYTES = 2**22
REFUSED = "refused"
SIZES = (0, 1, -1, 2, 3, 5, 8, 64, -128, 256, 65_536, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.5, 0.5, 1.0, 1e-30, 1e30, {"float": "inf"}, {"float": "-inf"}, {"float": "nan"})
OTHERS = (None, True, False, "", "same", "trunc", "ij,jk->ik", {"dtype": "float64"}, {"dtype": "int64"})
OTHERS += ({"dtype": "bool"}, {"memory_format": "channels_last"}, [], [1], [1, 1], [2, 2], [[1], 0])
OPERATOR_NAMES = sorted(OPERATORS)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding="same", bias=False), nn.BatchNorm2d(16)
        self.act, self.head = nn.PReLU(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)) + y)
        return self.head(F.max_pool2d(y, 2).mean((2, 3)))


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(11, 8), nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.qkv, self.norm = nn.Linear(12, 36), nn.LayerNorm(12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.lstm(self.embed(x))[0]
        q, k, v = self.qkv(y).view(-1, x.shape[1], 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.norm(y)[:, -1]


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(8, 16, 3, stride=2, groups=2), nn.BatchNorm1d(16)
        self.linear, self.last = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardtanh(self.norm(self.conv(x))).mean(2)
        y = torch.round(self.linear(y) * 4)
        return F.softmax(self.last(F.gelu(y) + y), -1)


MODELS: list[tuple[Callable[[], nn.Module], str, Callable[[int], Tensor]]] = [
    (Images, "bwa", lambda n: torch.randn(n, 16, 6, 6)),
    (Images, "bw", lambda n: torch.randn(n, 16, 6, 6)),
    (Sequence, "bw", lambda n: torch.randint(11, (n, 5))),
    (Line, "bwaa", lambda n: torch.randn(n, 8, 9)),
    (Line, "bw", lambda n: torch.randn(n, 8, 9)),
]


def packed_models(folder: Path) -> list[tuple[PackedFile, Callable[[int], Tensor]]]:
    found = []
    for i, (build, setting, inputs) in enumerate(MODELS):
        torch.manual_seed(i)
        config = pc.BinarizeConfig.from_setting(setting)
        model = pc.binarize_(build(), config, lambda module, name: True).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)
                nn.init.normal_(module.weight)
        found.append((read(pc.save(model, folder / f"{i}.safetensors", inputs(2))), inputs))
    return found


def changed(packed: PackedFile, rng: random.Random) -> PackedFile:
    """Change the graph of the file at random in one to three places."""
    graph = json.loads(packed.graph_json())
    info = packed.header.graph
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice((change_argument,) * 6 + (change_operator, insert, drop, change_output))
        change(graph, packed, rng)
    inputs = info.inputs
    if rng.random() < 0.1:
        inputs = (change_input(inputs[0], rng), *inputs[1:])
    raw = json.dumps(graph).encode()
    header = replace(packed.header, graph=replace(info, raw_bytes=len(raw), inputs=inputs))
    return PackedFile(header, {**packed.tensors, "graph": compressed_graph(raw)})


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Everything in JSON that can be replaced: (container, key)."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [place for key in keys for place in ((tree, key), *places(tree[key]))]


def value(graph: Any, packed: PackedFile, rng: random.Random) -> Any:
    """Draw an argument of any kind."""
    names = [*packed.header.binary, *packed.header.dense]
    kinds = (
        lambda: rng.choice(SIZES),
        lambda: rng.choice(FLOATS),
        lambda: rng.choice(OTHERS),
        lambda: {"value": rng.randrange(len(graph["nodes"]) + 1)},
        lambda: {"value": rng.randrange(len(graph["nodes"]) + 1)},
        lambda: {"tensor": rng.choice(names)},
        lambda: [value(graph, packed, rng) for _ in range(rng.randrange(4))],
    )
    return copy.deepcopy(rng.choice(kinds)())


def change_argument(graph: Any, packed: PackedFile, rng: random.Random) -> None:
    node = rng.choice(graph["nodes"])
    if not isinstance(node[1], list):  # an earlier change
        return
    container, key = rng.choice([(node, 1), (node[1], None), *places(node[1]), *places(node[2])])
    if key is None:
        node[1].append(value(graph, packed, rng))
    elif isinstance(container, list) and rng.random() < 0.2:
        container[key : key + 1] = [] if rng.random() < 0.5 else [container[key]] * 2
    elif type(container[key]) is int and rng.random() < 0.4:
        container[key] += rng.choice((-1, 1))
    else:
        container[key] = value(graph, packed, rng)


def change_operator(graph: Any, packed: PackedFile, rng: random.Random) -> None:
    rng.choice(graph["nodes"])[0] = rng.choice(OPERATOR_NAMES)


def insert(graph: Any, packed: PackedFile, rng: random.Random) -> None:
    """One more node, of arguments that its operator declares, whose result one of the later nodes reads."""
    place = rng.randrange(len(graph["nodes"]) + 1)
    own = 1 + place
    renumbered = renumber(graph, own)
    op = rng.choice(OPERATOR_NAMES)
    node = [op, arguments(op, own, packed, rng), {}]
    graph.clear()
    graph.update(renumbered)
    graph["nodes"].insert(place, node)
    later = [p for n in graph["nodes"][place + 1 :] for p in places(n[1])] + places(graph["output"])
    reads = [(c, k) for c, k in later if k == "value"]
    if reads and rng.random() < 0.9:
        container, key = rng.choice(reads)
        container[key] = own
    elif "value" in graph["output"]:
        graph["output"]["value"] = own


def arguments(op: str, below: int, packed: PackedFile, rng: random.Random) -> list[Any]:
    """Arguments of the types that the operator declares, more or less."""
    name = op.split(".")
    if name[0] != "aten":
        return [rng.choice(SIZES) for _ in range(rng.choice((1, 2)))]
    tensor = lambda: (  # noqa: E731
        {"tensor": rng.choice([*packed.header.binary, *packed.header.dense])}
        if rng.random() < 0.2
        else {"value": rng.randrange(below)}
    )
    makers: dict[str, Callable[[], Any]] = {
        "Tensor": tensor,
        "int": lambda: rng.choice(SIZES[:8]) if rng.random() < 0.8 else rng.choice(SIZES),
        "number": lambda: rng.choice((*SIZES, *FLOATS)),
        "float": lambda: rng.choice(FLOATS),
        "bool": lambda: rng.random() < 0.5,
        "str": lambda: rng.choice(("trunc", "floor", "reflect", "ij,jk->ik", "ijkl->ijl", "none", "sum")),
        "ScalarType": lambda: {"dtype": rng.choice(("float32", "float64", "int64", "bool", "bfloat16"))},
    }
    given = []
    for declared in getattr(getattr(torch.ops.aten, name[1]), name[2])._schema.arguments:
        kind = str(declared.real_type)
        optional = kind.startswith("Optional[")
        kind = kind.removeprefix("Optional[").removesuffix("]") if optional else kind
        if declared.kwarg_only or (optional and rng.random() < 0.4):
            given.append(None)
        elif kind.startswith("List["):
            maker = makers.get(kind[5:-1] if kind.endswith("]") else kind[5:], lambda: None)
            given.append([maker() for _ in range(rng.randrange(4))])
        else:
            given.append(makers.get(kind, lambda: None)())
        if declared.kwarg_only:
            given.pop()
    return given


def renumber(tree: Any, own: int) -> Any:
    if isinstance(tree, dict) and tree.keys() == {"value"}:
        index = tree["value"]
        return {"value": index + (index >= own) if type(index) is int else index}
    if isinstance(tree, dict):
        return {key: renumber(item, own) for key, item in tree.items()}
    return [renumber(item, own) for item in tree] if isinstance(tree, list) else tree


def drop(graph: Any, packed: PackedFile, rng: random.Random) -> None:
    graph["nodes"].pop(rng.randrange(len(graph["nodes"])))


def change_output(graph: Any, packed: PackedFile, rng: random.Random) -> None:
    graph["output"] = {"value": rng.randrange(len(graph["nodes"]) + 1)}


def change_input(spec: InputSpec, rng: random.Random) -> InputSpec:
    sizes = list(spec.shape)
    sizes[rng.randrange(len(sizes))] = rng.choice((0, 1, 2, 7, 2**40, "batch", "time"))
    return replace(spec, shape=tuple(sizes), dtype=rng.choice((spec.dtype, "float64", "int64", "bool")))


def example(specs: tuple[InputSpec, ...], batch: int) -> list[Tensor]:
    inputs = []
    for spec in specs:
        sizes = [
            batch if size == "batch" else 9 if isinstance(size, str) else min(size, 99) for size in spec.shape
        ]
        dtype = getattr(torch, spec.dtype)
        inputs.append(
            torch.randn(sizes).to(dtype) if dtype.is_floating_point else torch.randint(5, sizes).to(dtype)
        )
    return inputs


def outcome(call: Callable[[], Any]) -> Any:
    """Call a function, and return its result or the error that it is meant to end in."""
    try:
        return call()
    except ProxConnectError as error:
        return error


def check(packed: PackedFile, path: Path) -> str | None:
    """Read and run the file; return the fault, :data:`REFUSED`, or None if it answers well."""
    data = outcome(lambda: encode(packed))
    if isinstance(data, FormatError):
        return REFUSED
    path.write_bytes(data)
    nets = [
        outcome(lambda k=kernels: pc.load(path, k, max_bytes=MAX_BYTES)) for kernels in ("reference", "fast")
    ]
    refused = [isinstance(net, Exception) for net in nets]
    if any(refused):
        fine = all(refused) and all(isinstance(net, FormatError) for net in nets)
        return REFUSED if fine else f"loaded by one kind of kernels: {nets}"
    for batch in (1, 2, 5):
        inputs = example(packed.header.graph.inputs, batch)
        one, other = (answer(net, inputs) for net in nets)
        failed = isinstance(one, Exception), isinstance(other, Exception)
        if all(failed):
            continue
        if any(failed):
            return f"answered by one kind of kernels at batch {batch}: {str(one)[:300]} | {str(other)[:300]}"
        if not alike(one, other):
            return f"answers differ at batch {batch}: {one} | {other}"
    return None


def answer(net: Any, inputs: list[Tensor]) -> Any:
    with torch.inference_mode():
        return outcome(lambda: net(*copy.deepcopy(inputs)))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(alike, one, other))
    if not isinstance(one, Tensor):
        return type(one) is type(other) and (one == other or one != one)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = (torch.nan_to_num(t.detach().to(torch.float64), 7.0, 1e38, -1e38) for t in (one, other))
    if not one.numel():
        return True
    return bool(((one - other).abs() <= 1e-4 * one.abs().max() + 1e-4).all())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    wrong = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        models = packed_models(Path(folder))
        first = options.seed * 1_000_000
        for case in range(first, first + options.count) if options.only is None else [options.only]:
            print(f"\rcase {case}", end="", flush=True)
            rng = random.Random(case)
            torch.manual_seed(case)
            packed, _ = rng.choice(models)
            try:
                packed = changed(packed, rng)
            except (FormatError, IndexError):  # nothing left to change, or no header can say it
                continue
            try:
                found = check(packed, Path(folder) / "changed.safetensors")
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            refused += found == REFUSED
            if found and found != REFUSED:
                wrong += 1
                print(f"\n{found}"[:1200])
    print(f"\n{wrong} wrong, {refused} refused")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
