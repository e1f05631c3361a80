"""Time a language model of transformers: how fast it reads a prompt, and how fast it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from proxconnect.base.table import Table
from proxconnect.engine import active_kernels
from proxconnect.errors import ProxConnectError
from proxconnect.timing._threads import threads_set
from proxconnect.timing.rounds import Interval, median_interval


class TokenClock:
    """Notes when tokens come out of ``generate``; it is passed as its ``streamer``.

    Args:
        shown: another streamer, which gets the tokens too.
    """

    def __init__(self, shown: Any = None) -> None:
        self._shown = shown
        self._times: list[float] = []
        self.prompt_tokens = 0

    def put(self, tokens: Tensor) -> None:
        """Take the prompt, and then each token."""
        if not self._times:
            self.prompt_tokens = tokens.numel()
        self._times.append(time.perf_counter())
        if self._shown is not None:
            self._shown.put(tokens)

    def end(self) -> None:
        """Take the end of the text."""
        if self._shown is not None:
            self._shown.end()

    @property
    def new_tokens(self) -> int:
        """The number of tokens that were generated."""
        return max(0, len(self._times) - 1)

    @property
    def prompt_speed(self) -> float | None:
        """Tokens of the prompt a second, until the first new token; None if there was none."""
        return None if len(self._times) < 2 else self.prompt_tokens / (self._times[1] - self._times[0])

    @property
    def generation_speed(self) -> float | None:
        """New tokens a second, from the first to the last; None if there were fewer than two."""
        count = len(self._times) - 2
        return None if count < 1 else count / (self._times[-1] - self._times[1])


@dataclass(frozen=True)
class TokenBench:
    """Tokens a second of a language model, each a median with its 95 % interval; ``str()`` is a table."""

    prompt_tokens: int
    new_tokens: int
    threads: int
    rounds: int
    kernels: str
    activations: str | None
    prompt: Interval
    generation: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        yield f"{threads}, kernels {self.kernels}, activations {self.activations or 'float32'}"
        yield f"medians of {self.rounds} rounds with 95 % intervals"
        yield ""
        rows = [
            (f"prompt of {self.prompt_tokens} tokens", *_cells(self.prompt)),
            (f"generation of {self.new_tokens} tokens", *_cells(self.generation)),
        ]
        columns = ("", "tokens/s", "interval")
        yield str(Table(columns, rows, numbers=columns[1:]))


def bench_tokens(
    model: Any,
    *,
    prompt_tokens: int = 128,
    new_tokens: int = 32,
    threads: int | None = None,
    rounds: int = 5,
    activations: str | None = None,
) -> TokenBench:
    """Time a causal language model of transformers by its own ``generate``, with its cache and one sequence.

    Args:
        model: the model; its prompt is random tokens.
        prompt_tokens: the length of the prompt, at least 1.
        new_tokens: how many tokens are generated, greedily, at least 2.
        threads: threads of torch; as they are by default.
        rounds: how many times all of that is done, after one that does not count.
        activations: how the model was loaded, for the report.

    Raises:
        ProxConnectError: a number is too small, or the model has too few positions.
    """
    least = {"prompt_tokens": 1, "new_tokens": 2, "threads": 1, "rounds": 1}
    given = {"prompt_tokens": prompt_tokens, "new_tokens": new_tokens, "threads": threads, "rounds": rounds}
    for name, value in given.items():
        if value is not None and value < least[name]:
            raise ProxConnectError(f"{name} must be at least {least[name]}, not {value}")
    check_positions(model, prompt_tokens, new_tokens)
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.get_text_config().vocab_size
    prompt = torch.randint(
        vocabulary, (1, prompt_tokens), generator=generator, device="cpu", dtype=torch.long
    )
    clocks = []
    with threads_set(threads):
        for _ in range(rounds + 1):
            clocks.append(TokenClock())
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
                streamer=clocks[-1],
            )
        return TokenBench(
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            threads=torch.get_num_threads(),
            rounds=rounds,
            kernels=active_kernels(),
            activations=activations,
            prompt=median_interval([clock.prompt_speed or 0.0 for clock in clocks[1:]]),
            generation=median_interval([clock.generation_speed or 0.0 for clock in clocks[1:]]),
        )


def check_positions(model: Any, prompt_tokens: int, new_tokens: int) -> None:
    """Refuse a text that is longer than the model has positions.

    Raises:
        ProxConnectError: it is.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and prompt_tokens + new_tokens > positions:
        raise ProxConnectError(
            f"a prompt of {prompt_tokens} tokens and {new_tokens} new ones are more than the {positions} "
            "positions of the model; ask for fewer"
        )


def _cells(speed: Interval) -> tuple[str, str]:
    return f"{speed[0]:.1f}", f"{speed[1]:.1f} to {speed[2]:.1f}"
