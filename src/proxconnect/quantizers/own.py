"""A user's own pair, named as ``module:object``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.pair import ForwardBackward


def own_pair(place: str) -> ForwardBackward:
    """The :class:`ForwardBackward` at ``module:object``; modules are looked for in the working directory too.

    Raises:
        ProxConnectError: ``place`` is not of that form, the module cannot be imported, or holds no such pair.

    >>> own_pair("proxconnect.quantizers.catalogue:CATALOGUE")
    Traceback (most recent call last):
    ...
    proxconnect.errors.ProxConnectError: proxconnect.quantizers.catalogue:CATALOGUE is a dict, ...
    """
    module_name, colon, name = place.partition(":")
    if not (module_name and colon and name):
        raise ProxConnectError(f"a pair of your own is given as module:object, not {place!r}")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise ProxConnectError(f"{place}: cannot import {module_name!r}: {error}") from error
    finally:
        sys.path.remove(folder)
    if not hasattr(module, name):
        raise ProxConnectError(f"{place}: {module.__file__} defines no {name!r}")
    pair = getattr(module, name)
    if not isinstance(pair, ForwardBackward):
        raise ProxConnectError(f"{place} is a {type(pair).__name__}, expected a proxconnect.ForwardBackward")
    return pair
