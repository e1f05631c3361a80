"""Compression with zlib, whose result is of a declared size."""

from __future__ import annotations

import zlib

from proxconnect.errors import FormatError


def compressed(raw: bytes) -> bytes:
    """Compress bytes as files store them.

    >>> inflated(compressed(b"0" * 100), 100, "graph") == b"0" * 100
    True
    """
    return zlib.compress(raw, 9)


def inflated(data: bytes, size: int, where: str) -> bytes:
    """Return the ``size`` bytes that were compressed; never more, whatever the data say.

    Raises:
        FormatError: the data do not inflate to exactly ``size`` bytes; the message begins with ``where``.
    """
    inflate = zlib.decompressobj()
    try:
        # One byte more than declared shows a longer stream without inflating all of it.
        raw = inflate.decompress(data, size + 1)
    except zlib.error as error:
        raise FormatError(f"{where}: damaged zlib data: {error}") from None
    if len(raw) != size or not inflate.eof or inflate.unused_data:
        raise FormatError(f"{where}: does not decompress to the {size} bytes that are declared")
    return raw
