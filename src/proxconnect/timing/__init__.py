"""Measure packed networks beside other engines, in interleaved rounds."""

from __future__ import annotations

from proxconnect.timing._bench import Bench, Contender, bench

__all__ = ["Bench", "Contender", "bench"]
