"""``proxconnect bench``: the speed of a packed network beside other engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from proxconnect.cli._language_model import open_language_model
from proxconnect.engine import EXACT
from proxconnect.timing import bench, bench_tokens


def bench_file(
    file: Annotated[
        Path,
        typer.Argument(help="Packed model; with --tokens a folder of a language model, or a file .gguf."),
    ],
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Time a language model: its prompt and its generation.")
    ] = False,
    prompt_tokens: Annotated[int, typer.Option(help="With --tokens: tokens of the prompt.")] = 128,
    new_tokens: Annotated[int, typer.Option(help="With --tokens: tokens to generate.")] = 32,
    vs: Annotated[
        str, typer.Option(help="Engines to compare with besides torch: onnxruntime,openvino.")
    ] = "",
    batch: Annotated[int, typer.Option(help="Samples in a batch.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of each engine; by default torch's.")] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds of all engines, one after the other; 25, or 5 with --tokens."),
    ] = None,
    precision: Annotated[str, typer.Option(help="exact, fast or fastest.")] = EXACT,
    activations: Annotated[
        str | None, typer.Option(help="int8 or int6 quantizes the float inputs of binary layers.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Time a packed network beside the same architecture in float32 and int8, in interleaved rounds.

    With --tokens, time a packed language model alone.
    """
    if tokens:
        speed = bench_tokens(
            open_language_model(file, activations),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            threads=threads,
            rounds=5 if rounds is None else rounds,
            activations=activations,
        )
        print(json.dumps(speed.to_dict()) if as_json else speed)
        return
    found = bench(
        file,
        batch=batch,
        threads=threads,
        vs=[name.strip() for name in vs.split(",") if name.strip()],
        rounds=25 if rounds is None else rounds,
        precision=precision,
        activations=activations,
    )
    if plot is not None:
        found.plot(plot)
    print(json.dumps(found.to_dict()) if as_json else found)
