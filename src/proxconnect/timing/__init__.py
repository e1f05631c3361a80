"""Measure packed networks beside other engines, in interleaved rounds."""

from __future__ import annotations

from proxconnect.timing._bench import Bench, Contender, bench
from proxconnect.timing._tokens import TokenBench, TokenClock, bench_tokens, check_positions

__all__ = ["Bench", "Contender", "TokenBench", "TokenClock", "bench", "bench_tokens", "check_positions"]
