"""``python -m proxconnect`` is the command ``proxconnect``."""

from __future__ import annotations

from proxconnect.cli import main

main()
