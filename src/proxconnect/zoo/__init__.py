"""Packed models that ship with the package, each with a card that says how it was trained.

>>> import proxconnect as pc
>>> net = pc.zoo.load(pc.zoo.list()[0])
>>> net.training
False
"""

from __future__ import annotations

from proxconnect.zoo._shelf import Card, card, load
from proxconnect.zoo._shelf import names as list

__all__ = ["Card", "card", "list", "load"]
