"""``proxconnect generate``: a packed language model goes on with a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from proxconnect.base.optional import needed_for
from proxconnect.cli._language_model import open_language_model, open_tokenizer
from proxconnect.errors import ProxConnectError
from proxconnect.timing import TokenClock, check_positions


def generate(
    model: Annotated[Path, typer.Argument(help="Folder of a packed language model, or a file .gguf.")],
    text: Annotated[str, typer.Argument(help="The text to go on with.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate at most.")] = 100,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the most likely token; above, tokens are drawn.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    activations: Annotated[
        str | None,
        typer.Option(help="int8 or int6 quantizes the inputs of packed layers: faster, not exact."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default torch's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Go on with a text, token by token; the speed goes to standard error."""
    if threads is not None:
        torch.set_num_threads(threads)
    network, tokenizer = open_language_model(model, activations), open_tokenizer(model)
    with needed_for("A language model", "transformers"):
        from transformers import TextStreamer
    ids = tokenizer(text, return_tensors="pt").input_ids
    if ids.shape[1] == 0:
        raise ProxConnectError("the text has no token; give some letters to go on with")
    check_positions(network, ids.shape[1], tokens)
    clock = TokenClock(None if as_json else TextStreamer(tokenizer, skip_special_tokens=True))
    torch.manual_seed(seed)
    drawn = {"temperature": temperature} if temperature > 0 else {}
    found = network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=temperature > 0,
        pad_token_id=0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        streamer=clock,
        **drawn,
    )
    speeds = {"prompt": clock.prompt_speed, "generation": clock.generation_speed}
    counts = {"prompt": clock.prompt_tokens, "generation": clock.new_tokens}
    if as_json:
        result = {"text": tokenizer.decode(found[0], skip_special_tokens=True), "tokens": counts}
        print(json.dumps(result | {"tokens_per_second": speeds}))
        return
    sys.stdout.flush()
    said = (
        f"{what} {counts[what]} tokens" + ("" if speed is None else f", {speed:.1f} tokens/s")
        for what, speed in speeds.items()
    )
    print("; ".join(said), file=sys.stderr)
