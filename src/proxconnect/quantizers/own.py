"""A user's own pair, named as ``module:object``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.pair import ForwardBackward


def own_pair(place: str) -> ForwardBackward:
    """Import the :class:`ForwardBackward` at ``module:object``.

    Python looks for the module in the working directory too.

    Raises:
        ProxConnectError: ``place`` has another form, the module cannot be imported, or it holds no such pair.

    >>> own_pair("proxconnect.quantizers.catalogue:CATALOGUE")
    Traceback (most recent call last):
    ...
    proxconnect.errors.ProxConnectError: proxconnect.quantizers.catalogue:CATALOGUE is a dict, ...
    """
    module_name, colon, name = place.partition(":")
    if not (module_name and colon and name):
        raise ProxConnectError(f"a pair of your own is given as module:object, not {place!r}")
    if module_name.endswith(".py"):
        raise ProxConnectError(f"{place}: give the module without its ending, {place.replace('.py:', ':')}")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        reason = f"{type(error).__name__}: {error}"
        raise ProxConnectError(f"{place}: cannot import {module_name!r}: {reason}") from error
    finally:
        sys.path.remove(folder)
    if not hasattr(module, name):
        pairs = [known for known, value in vars(module).items() if isinstance(value, ForwardBackward)]
        raise ProxConnectError(
            f"{place}: {module.__file__} defines no {name!r}; its pairs: {', '.join(pairs) or 'none'}"
        )
    pair = getattr(module, name)
    if not isinstance(pair, ForwardBackward):
        raise ProxConnectError(f"{place} is a {type(pair).__name__}, expected a proxconnect.ForwardBackward")
    return pair
