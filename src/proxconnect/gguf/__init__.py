"""Language models of transformers as GGUF files, the format of llama.cpp, and back."""

from __future__ import annotations

from proxconnect.gguf._read import from_gguf, gguf_tokenizer
from proxconnect.gguf._write import gguf

__all__ = ["from_gguf", "gguf", "gguf_tokenizer"]
