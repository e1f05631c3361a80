"""The binary convolution of larq-compute-engine, in a process of its own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from _rounds import Run, SelfTimed
from torch import Tensor

LARQ = "larq-compute-engine"


class LarqPeer:
    """The process of ``_larq_worker.py``, with one convolution at a time; leaving the context ends it."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("_larq_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = self.answer()

    def __call__(self, x: Tensor, weight: Tensor, threads: int) -> dict[str, Run]:
        """Return the convolution of images like ``x``; the worker has weights of its own."""
        self.ask(channels=x.shape[1], size=x.shape[2], threads=threads)
        return {LARQ: Convolution(self)}

    def ask(self, **request: float) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {LARQ} has ended; it says why above")
        return json.loads(line)

    def __enter__(self) -> LarqPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()


class Convolution(SelfTimed):
    """The convolution that the process prepared last; messages between processes do not count."""

    def __init__(self, peer: LarqPeer) -> None:
        self.peer = peer

    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        return float(self.peer.ask(repeats=repeats, warm_seconds=warm_seconds))
