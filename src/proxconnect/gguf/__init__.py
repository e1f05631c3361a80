"""Language models of transformers as GGUF files, the format of llama.cpp, and back."""

from __future__ import annotations

from proxconnect.gguf._write import gguf

__all__ = ["gguf"]
