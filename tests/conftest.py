"""Random examples: the same on every run, unless ``--hypothesis-profile=new`` asks for others."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("new", print_blob=True)
settings.load_profile("same")
