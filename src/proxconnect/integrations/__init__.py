"""Train binarized models in the loops of other libraries; each module needs the library of its name.

- ``proxconnect.integrations.lightning``: a callback of Lightning.
- ``proxconnect.integrations.transformers``: ``from_pretrained`` and ``save_pretrained`` of 1-bit models, and
  a callback of the Trainer of Hugging Face.
- ``proxconnect.integrations.loops``: optimizers that others made, for Accelerate and plain loops.

>>> import proxconnect as pc
>>> pc.integrations.loops.__name__
'proxconnect.integrations.loops'
"""

from __future__ import annotations

import importlib
from types import ModuleType

_MODULES = ("lightning", "loops", "transformers")


def __getattr__(name: str) -> ModuleType:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return [*_MODULES]
