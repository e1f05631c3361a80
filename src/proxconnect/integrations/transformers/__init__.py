"""Binarize, train, pack, save and load models of transformers (extra ``transformers``).

Importing this module tells transformers of 1-bit models: ``from_pretrained`` then takes a
:class:`ProxConnectConfig`, and reads the folders that ``save_pretrained`` wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxconnect.base.optional import needed_for

with needed_for("proxconnect.integrations.transformers", "transformers"):
    from proxconnect.integrations.transformers.config import ProxConnectConfig
    from proxconnect.integrations.transformers.quantizer import ProxConnectQuantizer

if TYPE_CHECKING:
    from proxconnect.integrations.transformers.callback import ProxConnectCallback, ProxConnectTrainer

__all__ = ["ProxConnectCallback", "ProxConnectConfig", "ProxConnectQuantizer", "ProxConnectTrainer"]


def __getattr__(name: str) -> Any:
    """Import the Trainer when it is asked for: it takes as long as all of torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from proxconnect.integrations.transformers import callback

    return getattr(callback, name)
